// Weights in files: names and layouts of PyTorch's state_dict, through safetensors. See state.hpp.
//
// Loading converts everything first and copies last, so that an error changes nothing.
#include "nn/state.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <span>
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

std::string line(const char* what, const std::vector<std::string>& names, const std::string& why = {}) {
  constexpr std::size_t shown = 8;
  if (names.empty()) return "";
  const std::span<const std::string> first(names.data(), std::min(names.size(), shown));
  const std::string more = names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "";
  return fmt::format("{} ({}): {}{}{}\n", what, names.size(), fmt::join(first, ", "), more, why);
}

constexpr std::string_view batch_count = "num_batches_tracked", auxiliary = "AuxLogits.";

/// The name that a tensor of a file has today: torchvision's own renaming of DenseNet's old files, in which
/// `denselayer1.norm.1.weight` stands for `denselayer1.norm1.weight`.
std::string current_name(const std::string& name) {
  constexpr std::string_view layer = "denselayer";
  const std::size_t at = name.rfind(layer);
  if (at == std::string::npos) return name;
  const std::size_t dot = name.find_first_not_of("0123456789", at + layer.size());
  for (const std::string_view old :
       {".norm.1.", ".norm.2.", ".relu.1.", ".relu.2.", ".conv.1.", ".conv.2."}) {
    if (dot != std::string::npos && name.compare(dot, old.size(), old) == 0) {
      return std::string(name).erase(dot + old.size() - 3, 1);
    }
  }
  return name;
}

using Entries = std::map<std::string, const SafetensorsEntry*, std::less<>>;

/// By today's names; where a file has a tensor under both, the old one is left over.
Entries entries_of(const SafetensorsFile& file, std::vector<std::string>& extra) {
  Entries entries;
  for (const SafetensorsEntry& e : file.entries()) entries.emplace(e.name, &e);
  for (const SafetensorsEntry& e : file.entries()) {
    std::string name = current_name(e.name);
    if (name == e.name) continue;
    entries.erase(e.name);
    if (!entries.emplace(std::move(name), &e).second) extra.push_back(e.name);
  }
  return entries;
}

bool has_auxiliary(const Entries& entries) {
  const auto first = entries.lower_bound(auxiliary);
  return first != entries.end() && first->first.starts_with(auxiliary);
}

/// Whether the two differ in nothing but the first dimension, which is `classes` in the model.
bool differs_in_classes(const SafetensorsEntry& entry, const NamedTensor& wanted, std::int64_t classes) {
  std::vector<std::int64_t> dims = dims_of(file_shape(wanted.tensor.shape(), wanted.layout));
  if (dims.empty() || dims[0] != classes || entry.shape.empty()) return false;
  dims[0] = entry.shape[0];
  return dims == entry.shape;
}

struct Match {
  NamedTensor tensor;
  const SafetensorsEntry* entry;  // null: a count that starts at 0
};

void note_misfit(std::string what, const Match& match, std::int64_t classes, LoadReport& report) {
  const std::int64_t rows = match.entry->shape.empty() ? 0 : match.entry->shape[0];
  const bool known = report.file_classes == 0 || report.file_classes == rows;
  if (classes == 0 || !known || !differs_in_classes(*match.entry, match.tensor, classes)) {
    report.misshapen.push_back(std::move(what));
    return;
  }
  report.file_classes = rows;
  report.last_layers.push_back(match.tensor.name);
}

std::vector<Match> matches_of(const SafetensorsFile& file, const Module& module, std::int64_t classes,
                              LoadReport& report) {
  const Entries entries = entries_of(file, report.extra);
  std::vector<Match> matches;
  std::set<std::string, std::less<>> known;
  for (const NamedTensor& named : module.state()) {
    known.insert(named.name);
    const auto found = entries.find(named.name);
    if (found == entries.end()) {
      if (named.name.ends_with(batch_count)) {
        matches.push_back({named, nullptr});
      } else {
        const bool may = named.name.starts_with(auxiliary) && !has_auxiliary(entries);
        (may ? report.left_out : report.missing).push_back(named.name);
      }
    } else if (std::string what = misfit(*found->second, named); !what.empty()) {
      note_misfit(std::move(what), {named, found->second}, classes, report);
    } else {
      report.loaded.push_back(named.name);
      matches.push_back({named, found->second});
    }
  }
  for (const auto& [name, entry] : entries) {
    if (!known.contains(name)) report.extra.push_back(entry->name);
  }
  return matches;
}

}  // namespace

std::string LoadReport::text() const {
  std::string text = line("missing in the file", missing) + line("not in the model", extra) +
                     line("of another shape", misshapen) +
                     line("missing in the file, as they may be", left_out, "; they start anew") +
                     line("the last layer starts anew", last_layers,
                          fmt::format("; the file is of {} classes", file_classes));
  if (!text.empty()) text.pop_back();
  return text;
}

void save_weights(const std::string& path, const Module& module,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const NamedTensor& named : module.state()) entries.push_back(entry_of(named));
  write_safetensors(path, entries, metadata);
}

LoadReport load_weights(const std::string& path, Module& module, bool strict, std::int64_t classes) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  LoadReport report;
  const std::vector<Match> matches = matches_of(file, module, strict ? 0 : classes, report);
  if (strict && !report.exact()) {
    fail(fmt::format("{} does not fit the model; use the model and options it was saved with\n{}", path,
                     report.text()));
  }
  std::vector<Tensor> values;
  for (const Match& m : matches) {
    values.push_back(m.entry ? values_of(*m.entry, m.tensor)
                             : Tensor::zeros(m.tensor.tensor.shape(), m.tensor.tensor.dtype()));
  }
  for (std::size_t i = 0; i < matches.size(); ++i) {
    Tensor tensor = matches[i].tensor.tensor;
    tensor.copy_from(values[i]);
  }
  return report;
}

}  // namespace fovea
