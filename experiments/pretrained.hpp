// Starting weights: a file of this project's names, or of torchvision's VGG.
#pragma once

#include <string>

#include "models/zoo.hpp"
#include "nn/state.hpp"

namespace fovea {

/// Loads what fits. Of a file under the model's own names the last layers are left out where its number of classes is
/// another one; torchvision's VGG (`features.<i>.*`) goes into the backbone of every stream, its `classifier` is left
/// out. The report's names are the model's. Error where nothing in the file fits, or less than half of the tensors.
LoadReport load_pretrained(const std::string& path, Model& model);

}  // namespace fovea
