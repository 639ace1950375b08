// Saving and loading parameters and buffers by name, in PyTorch's layout, through safetensors.
//
// Files of torchvision's weights load as they are, old ones too: `num_batches_tracked` may be missing (it starts at 0),
// Inception's `AuxLogits.*` may be missing as a whole (they stay as initialised), and DenseNet's tensors may have the names
// of 2017, `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`.
#pragma once

#include <cstdint>
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
  std::vector<std::string> loaded = {}, missing = {}, extra = {},
                           misshapen = {};    // misshapen: "name: file AxB, model CxD"
  std::vector<std::string> left_out = {};     // missing, and allowed to be: see above; counts are not listed
  std::vector<std::string> last_layers = {};  // of another number of classes, and so left as initialised
  std::int64_t file_classes = 0;              // that number, where there are any
  bool exact() const { return missing.empty() && extra.empty() && misshapen.empty() && last_layers.empty(); }
  /// One line per kind: how many, and the first few names.
  std::string text() const;
};

/// Loads every tensor that fits (converted to the module's dtype). With `strict`, anything missing, extra or misshapen is
/// an Error that says so as text() does, and nothing is changed. Without, and of a model of so many `classes`, layers that
/// differ from the file in that number alone are the report's last_layers.
LoadReport load_weights(const std::string& path, Module& module, bool strict, std::int64_t classes = 0);

}  // namespace fovea
