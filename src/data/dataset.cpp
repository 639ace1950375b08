// Sets: names of modalities, and which layout a path holds. See dataset.hpp.
#include "data/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "data/class_folders.hpp"
#include "data/csv.hpp"
#include "data/gamma.hpp"
#include "data/manifest.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {

namespace fs = std::filesystem;

std::string_view name_of(Modality modality) {
  switch (modality) {
    case Modality::fundus:
      return "fundus";
    case Modality::oct:
      return "oct";
    case Modality::vf:
      return "vf";
  }
  fail("an unknown modality");
}

Modality parse_modality(std::string_view name) {
  std::vector<std::string> known;
  for (const Modality modality : all_modalities) {
    if (name == name_of(modality)) return modality;
    known.emplace_back(name_of(modality));
  }
  fail_usage(fmt::format("unknown modality '{}'; known: {}", name, fmt::join(known, ", ")));
}

std::vector<Modality> parse_modalities(std::string_view comma_separated) {
  std::vector<Modality> modalities;
  for (const std::string& name : split_cell(comma_separated, ',')) {
    const Modality modality = parse_modality(name);
    if (std::find(modalities.begin(), modalities.end(), modality) != modalities.end())
      fail_usage(fmt::format("the modality '{}' is named twice in '{}'", name, comma_separated));
    modalities.push_back(modality);
  }
  if (modalities.empty())
    fail_usage("no modality is named; give one or more of fundus, oct, vf, separated by commas");
  return modalities;
}

Dataset open_dataset(const std::string& path, const DatasetOptions& options) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) fail(fmt::format("{}: no such file or folder", path));
  if (!fs::is_directory(status)) return open_manifest(path, options);
  const fs::path labels = fs::path(path) / "labels.csv", manifest = fs::path(path) / "manifest.csv";
  const bool has_labels = fs::exists(labels), has_manifest = fs::exists(manifest);
  if (has_labels && has_manifest)
    fail(fmt::format("{}: has both labels.csv and manifest.csv; name the one to open", path));
  if (has_labels || has_manifest) return open_manifest((has_labels ? labels : manifest).string(), options);
  return is_gamma(path) ? open_gamma(path, options) : open_class_folders(path, options);
}

}  // namespace fovea
