// Saving and loading parameters and buffers by name, in PyTorch's layout, through safetensors.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nn/module.hpp"

namespace fovea {

/// Writes all of state() to a file (written whole or not at all), each tensor in its own dtype.
void save_weights(const std::string& path, const Module& module,
                  const std::map<std::string, std::string>& metadata = {});

/// What a file had and what the module wanted.
struct LoadReport {
  std::vector<std::string> loaded, missing, extra, misshapen;  // misshapen: "name: file AxB, model CxD"
  bool exact() const { return missing.empty() && extra.empty() && misshapen.empty(); }
  std::string text() const;  // one line per kind, names listed
};

/// Loads every tensor that fits (converted to the module's dtype). With `strict`, anything missing, extra or
/// misshapen is an Error that lists them all and nothing is changed. Tensors of a dense layer are also found under the
/// names that torchvision's own DenseNet weights have (norm.1 for norm1).
LoadReport load_weights(const std::string& path, Module& module, bool strict);

}  // namespace fovea
