// torchvision's names are this project's without the modality in front: "fundus.features.0.weight" is
// "features.0.weight" there.
#include "pretrained.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kernels/runtime/error.hpp"
#include "nn/safetensors.hpp"
#include "tensor_io.hpp"

namespace fovea {
namespace {

bool has_torchvision_names(const SafetensorsFile& file) {
  return std::any_of(file.entries().begin(), file.entries().end(),
                     [](const SafetensorsEntry& e) { return e.name.starts_with("features."); });
}

// Empty where the tensor has no place in torchvision's model.
std::string torchvision_name(const std::string& name) {
  const std::size_t at = name.find(".features.");
  return at == std::string::npos ? "" : name.substr(at + 1);
}

LoadReport load_backbone(const SafetensorsFile& file, Model& model) {
  LoadReport report;
  std::set<std::string> used;
  for (NamedTensor& named : model.state()) {
    const std::string name = torchvision_name(named.name);
    const SafetensorsEntry* entry = name.empty() ? nullptr : file.find(name);
    if (entry == nullptr) {
      if (name.ends_with("num_batches_tracked")) {
        named.tensor.fill(0);
      } else {
        report.missing.push_back(named.name);
      }
      continue;
    }
    used.insert(name);
    const Tensor value = tensor_of(*entry, named.tensor.dtype());
    const Shape wanted = file_shape(named.tensor.shape(), named.layout);
    if (value.shape() != wanted || value.dtype() != named.tensor.dtype()) {
      report.misshapen.push_back(
          fmt::format("{}: file {}, model {}", named.name, to_string(value.shape()), to_string(wanted)));
      continue;
    }
    named.tensor.copy_from(from_file_layout(value, named.layout, named.tensor.shape()));
    report.loaded.push_back(named.name);
  }
  for (const SafetensorsEntry& e : file.entries()) {
    if (!used.contains(e.name)) report.extra.push_back(e.name);
  }
  return report;
}

}  // namespace

LoadReport load_pretrained(const std::string& path, Model& model) {
  LoadReport report;
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::vector<NamedTensor> state = model.state();
  const bool own = std::any_of(state.begin(), state.end(),
                               [&](const NamedTensor& n) { return file.find(n.name) != nullptr; });
  if (!own && has_torchvision_names(file)) {
    report = load_backbone(file, model);
  } else {
    report = load_weights(path, model, false, model.config().classes);
    if (2 * report.loaded.size() < state.size()) {  // by chance, as names like 'fc.bias' are
      fail(fmt::format("{}: of the {} tensors of {} only {} are in it, so it is another model's\n{}", path,
                       state.size(), model.config().name, report.loaded.size(), report.text()));
    }
  }
  if (report.loaded.empty()) {
    fail(fmt::format("{}: nothing in it fits the model; its first name is '{}', the model's '{}'", path,
                     file.entries().empty() ? "" : file.entries()[0].name,
                     state.empty() ? "" : state[0].name));
  }
  return report;
}

}  // namespace fovea
