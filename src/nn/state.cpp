// Weights in files: names and layouts of PyTorch's state_dict, through safetensors. See state.hpp.
//
// Loading converts everything first and copies last, so that an error changes nothing.
#include "nn/state.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "kernels/runtime/error.hpp"
#include "nn/safetensors.hpp"

namespace fovea {
namespace {

constexpr std::array<std::string_view, 5> file_dtypes{"F32", "F64", "U8", "I64", "BF16"};  // in Dtype's order

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

std::string shown(const std::vector<std::int64_t>& dims) {
  return dims.empty() ? "scalar" : fmt::format("{}", fmt::join(dims, "x"));
}

SafetensorsEntry entry_of(const NamedTensor& named) {
  auto stored = std::make_shared<Tensor>(to_file_layout(named.tensor.to(Device::cpu), named.layout));
  const View view = stored->view();
  return {.name = named.name,
          .dtype = std::string(file_dtypes[static_cast<std::size_t>(view.dtype)]),
          .shape = dims_of(view.shape),
          .data = {static_cast<const std::byte*>(view.data), static_cast<std::size_t>(view.bytes())},
          .owner = std::move(stored)};
}

bool is_floating(const SafetensorsEntry& e) {
  return e.dtype == "F32" || e.dtype == "F64" || e.dtype == "F16" || e.dtype == "BF16";
}

template <class T>
Tensor tensor_of(const std::vector<T>& values, const Shape& shape, Dtype dtype) {
  return Tensor::from<T>(std::span<const T>(values), shape, dtype);
}

Tensor values_of(const SafetensorsEntry& entry, const NamedTensor& wanted) {
  const Shape shape = file_shape(wanted.tensor.shape(), wanted.layout);
  const Dtype dtype = wanted.tensor.dtype();
  if (dtype == Dtype::f32)
    return from_file_layout(tensor_of(to_floats(entry), shape, dtype), wanted.layout, wanted.tensor.shape());
  if (dtype == Dtype::f64)
    return from_file_layout(tensor_of(to_doubles(entry), shape, dtype), wanted.layout, wanted.tensor.shape());
  if (dtype == Dtype::bf16)
    return from_file_layout(tensor_of(to_floats(entry), shape, dtype), wanted.layout, wanted.tensor.shape());
  return tensor_of(to_integers(entry), shape, dtype);
}

/// Empty where the entry fits, else what differs.
std::string misfit(const SafetensorsEntry& entry, const NamedTensor& wanted) {
  const std::vector<std::int64_t> dims = dims_of(file_shape(wanted.tensor.shape(), wanted.layout));
  if (entry.shape != dims) {
    return fmt::format("{}: file {}, model {}", wanted.name, shown(entry.shape), shown(dims));
  }
  const Dtype dtype = wanted.tensor.dtype();
  if (is_floating(entry) != is_floating(dtype)) {
    return fmt::format("{}: file holds {}, model {}", wanted.name, entry.dtype, name_of(dtype));
  }
  return {};
}

std::string line(const char* what, const std::vector<std::string>& names) {
  return names.empty() ? "" : fmt::format("{} ({}): {}\n", what, names.size(), fmt::join(names, ", "));
}

/// What torchvision's own DenseNet weights call a tensor of a dense layer: norm.1 for norm1. Empty for others.
std::string legacy_name(const std::string& name) {
  const std::size_t layer = name.find("denselayer");
  if (layer == std::string::npos) return {};
  for (const std::string_view part : {".norm1.", ".conv1.", ".norm2.", ".conv2."}) {
    const std::size_t at = name.find(part, layer);
    if (at != std::string::npos) return std::string(name).insert(at + part.size() - 2, 1, '.');
  }
  return {};
}

const SafetensorsEntry* entry_for(const SafetensorsFile& file, const NamedTensor& named) {
  const SafetensorsEntry* entry = file.find(named.name);
  if (entry != nullptr) return entry;
  const std::string legacy = legacy_name(named.name);
  return legacy.empty() ? nullptr : file.find(legacy);
}

}  // namespace

std::string LoadReport::text() const {
  std::string text = line("missing in the file", missing) + line("not in the model", extra) +
                     line("of another shape", misshapen);
  if (!text.empty()) text.pop_back();
  return text;
}

void save_weights(const std::string& path, const Module& module,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const NamedTensor& named : module.state()) entries.push_back(entry_of(named));
  write_safetensors(path, entries, metadata);
}

LoadReport load_weights(const std::string& path, Module& module, bool strict) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  LoadReport report;
  std::vector<NamedTensor> wanted;
  std::vector<const SafetensorsEntry*> found;
  std::set<std::string> known;
  for (const NamedTensor& named : module.state()) {
    const SafetensorsEntry* entry = entry_for(file, named);
    known.insert(entry ? entry->name : named.name);
    if (!entry) {
      report.missing.push_back(named.name);
    } else if (std::string what = misfit(*entry, named); !what.empty()) {
      report.misshapen.push_back(std::move(what));
    } else {
      report.loaded.push_back(named.name);
      wanted.push_back(named);
      found.push_back(entry);
    }
  }
  for (const SafetensorsEntry& entry : file.entries()) {
    if (!known.contains(entry.name)) report.extra.push_back(entry.name);
  }
  if (strict && !report.exact()) {
    fail(fmt::format("{} does not fit the model; use the model and options it was saved with\n{}", path,
                     report.text()));
  }
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < wanted.size(); ++i) values.push_back(values_of(*found[i], wanted[i]));
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i].tensor.copy_from(values[i]);
  return report;
}

}  // namespace fovea
