// DenseNet161 (Huang et al., arXiv 1608.06993), as torchvision's densenet161.
//
//   conv 7x7 /2, batch norm, ReLU, max-pool 3x3 /2; four blocks of 6, 12, 36 and 24 layers, between them transitions; batch
//   norm, ReLU, global average, linear
//   layer: x_next = x, conv 3x3(ReLU BN(conv 1x1(ReLU BN(x))))      side by side along the channels: 48 more with each
//   transition: average-pool 2x2(conv 1x1(ReLU BN(x)))               half of the channels
//
// A block has one image from the start: each layer normalises the channels that are there and writes its own behind them,
// so nothing is concatenated, and backward adds each layer's part to the one gradient of that image.
//
// Captured by name: "denseblock1" to "denseblock4", the blocks, and "features", the last norm before its ReLU.
#pragma once

#include <memory>

#include "models/zoo.hpp"

namespace fovea {

/// config.name is "densenet161".
std::unique_ptr<Model> make_densenet(const ModelConfig& config);

}  // namespace fovea
