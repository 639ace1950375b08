// Starting weights: a file of this project's names, or of torchvision's VGG.
#pragma once

#include <string>

#include "models/zoo.hpp"
#include "nn/state.hpp"

namespace fovea {

/// Loads what fits. A file under the model's own names must fit it but for the last layers, which another
/// number of classes misshapes; torchvision's VGG (`features.<i>.*`) goes into the backbone of every stream,
/// its `classifier` is left out. The report's names are the model's. Error where nothing in the file fits.
LoadReport load_pretrained(const std::string& path, Model& model);

}  // namespace fovea
