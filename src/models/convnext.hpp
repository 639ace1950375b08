// ConvNeXt-Tiny (Liu et al., arXiv 2201.03545), as torchvision's convnext_tiny.
//
//   conv 4x4 /4 and layer norm; four stages of blocks, between them layer norm and conv 2x2 /2; global average, layer norm,
//   linear
//   block: y = x + s gamma linear(GELU(linear(LN(depthwise 7x7(x)))))     widths C, 4C, C; s is stochastic depth's
//
// Layer norms are over the channels, eps 1e-6. Stochastic depth drops a block's branch with a probability that grows
// linearly from 0 at the first block to 0.1 at the last.
//
// Captured by name: "stage1" to "stage4", the outputs of the stages.
#pragma once

#include <memory>

#include "models/zoo.hpp"

namespace fovea {

/// config.name is "convnext_tiny".
std::unique_ptr<Model> make_convnext(const ModelConfig& config);

}  // namespace fovea
