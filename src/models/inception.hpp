// Inception v3 (Szegedy et al., arXiv 1512.00567), as torchvision's inception_v3.
//
//   three 3x3 convolutions (the first /2), max-pool 3x3 /2, convolutions 1x1 and 3x3, max-pool 3x3 /2; three blocks A, B, four
//   blocks C, D, two blocks E; global average, dropout 0.5, linear
//   convolution: ReLU BN(conv(x)), eps 1e-3          block: branches of convolutions and pools, side by side
//   auxiliary head, in training: of the last block C, average-pool 5x5 /3, convolutions 1x1 and 5x5, global average, linear;
//   its loss counts 0.4. It needs images of 299 px: smaller ones, of 75 px at least, train without it
//
// Branches write their last batch norm, or pool, into channels of the block's image; nothing is concatenated. As in
// torchvision, whose deviation of 0.01 for the auxiliary 5x5 convolution is set on the module around it and has no effect, all
// convolutions start with deviation 0.1.
//
// Captured by name: "Mixed_5d", "Mixed_6e", "Mixed_7c", the last blocks of each size.
#pragma once

#include <memory>

#include "models/zoo.hpp"

namespace fovea {

/// config.name is "inception_v3".
std::unique_ptr<Model> make_inception(const ModelConfig& config);

}  // namespace fovea
