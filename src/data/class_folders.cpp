// Class folders. See class_folders.hpp.
#include "data/class_folders.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

#include "data/dataset_rules.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

bool is_unread_image(const fs::path& path) {
  constexpr std::array<std::string_view, 7> endings{".bmp", ".tif", ".tiff", ".gif", ".webp", ".dcm", ".ppm"};
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

std::vector<fs::path> list_images(const fs::path& folder, const DatasetOptions& options) {
  std::vector<fs::path> images;
  for (const fs::path& path : list_folder(folder)) {
    if (is_unread_image(path))
      report_problem(options, fmt::format("{}: only JPEG and PNG images are read; convert it or take it away",
                                          path.string()));
    if (is_image_name(path) && fs::is_regular_file(path)) images.push_back(path);
  }
  return images;
}

void add_images(Dataset& dataset, const std::vector<fs::path>& images, int label) {
  for (const fs::path& path : images) {
    Sample sample;
    sample.id = sample.subject = path.stem().string();
    sample.label = label;
    sample.fundus = path.string();
    dataset.samples.push_back(std::move(sample));
  }
}

int label_of(const std::string& name, int position, const Dataset& dataset, const DatasetOptions& options) {
  if (options.classes.empty()) return position;
  const auto found = std::find(options.classes.begin(), options.classes.end(), name);
  if (found == options.classes.end())
    fail(fmt::format("{}: the folder '{}' is none of the classes {}", dataset.source, name,
                     fmt::join(options.classes, ", ")));
  return static_cast<int>(found - options.classes.begin());
}

}  // namespace

Dataset open_class_folders(const std::string& folder, const DatasetOptions& options) {
  Dataset dataset{folder, {}, {}};
  std::map<int, std::string> names;
  const auto loose = list_images(folder, options);
  for (const fs::path& path : list_folder(folder)) {
    if (!fs::is_directory(path)) continue;
    const std::string name = path.filename().string();
    const auto images = list_images(path, options);
    if (images.empty())
      report_problem(options,
                     fmt::format("{}: the class folder has no JPEG or PNG images in it", path.string()));
    const int label = label_of(name, static_cast<int>(names.size()), dataset, options);
    names.emplace(label, name);
    add_images(dataset, images, label);
  }
  if (!names.empty() && !loose.empty())
    fail(fmt::format("{}: lies beside the class folders, in none of them", loose.front().string()));
  if (names.empty() && (loose.empty() || options.labels_required))
    fail(fmt::format(
        "{}: has no labels.csv or manifest.csv, no folder for each class and no multi-modality_images",
        folder));
  add_images(dataset, loose, -1);
  finish_dataset(dataset, names, options);
  return dataset;
}

}  // namespace fovea
