// ResNet18 and ResNet50 (He et al., arXiv 1512.03385), as torchvision's resnet18 and resnet50 (v1.5: the stride of a
// bottleneck is in its 3x3 convolution).
//
//   conv 7x7 /2, batch norm, ReLU, max-pool 3x3 /2, four stages of residual blocks, global average, linear
//   block: y = relu( f(x) + shortcut(x) )     shortcut: x, or a 1x1 convolution and batch norm where the shape changes
//
// Captured by name: "layer1" to "layer4", the stages.
#pragma once

#include <memory>

#include "models/zoo.hpp"

namespace fovea {

/// config.name is "resnet18" or "resnet50".
std::unique_ptr<Model> make_resnet(const ModelConfig& config);

}  // namespace fovea
