// Arrays of a file as a model's input: what `fovea probe` and `fovea cam` run on.
#pragma once

#include <string>
#include <vector>

#include "models/zoo.hpp"

namespace fovea {

struct Probe {
  std::vector<std::string> names;  // of the inputs, in their order
  ModelInput input;
  Tensor labels;  // N; undefined where the file has none
};

/// safetensors with fundus, oct, vf (or image) as N,H,W,C, optionally label and mask/<modality>. Error naming
/// file and array for what does not fit the model; a note on stderr for what it does not take.
Probe read_input(const std::string& path, const Model& model);

}  // namespace fovea
