// VGG11 to VGG19, with or without batch norm (Simonyan and Zisserman, arXiv 1409.1556), as torchvision's vgg11, vgg11_bn
// and so on: features, an adaptive average to 7x7, and a classifier of three layers with dropout.
//
// Captured by name (ForwardContext::capture): "R1" to "R5", the blocks before their max-pools, and "features", the last
// of these pools.
#pragma once

#include <memory>
#include <string_view>

#include "models/zoo.hpp"

namespace fovea {

/// config.name is "vgg11", "vgg13_bn", ...; what follows "vgg" is VggFeatures'.
std::unique_ptr<Model> make_vgg(const ModelConfig& config);

}  // namespace fovea
