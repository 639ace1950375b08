// GAMMA's layout. See gamma.hpp.
#include "data/gamma.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <optional>

#include "data/dataset_rules.hpp"
#include "data/oct.hpp"
#include "data/xlsx.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> grades{"non", "early", "mid_advanced"};
constexpr std::string_view images_folder = "multi-modality_images";

// Spreadsheets turn 0001 into the number 1.
std::string key_of(const std::string& number) {
  const auto value = parse_integer(number);
  return value ? std::to_string(*value) : number;
}

struct Grade {
  int label = -1, row = 0;
  bool used = false;
};
using Grades = std::map<std::string, Grade>;

bool has_grades(const Table& table) {
  for (const std::string& name : grades)
    if (table.find(name) < 0) return false;
  return table.find("data") >= 0;
}

std::optional<Table> find_sheet(const fs::path& folder, const DatasetOptions& options) {
  std::optional<Table> found;
  for (const fs::path& path : list_folder(folder)) {
    if (path.extension() != ".xlsx" || path.filename().string().starts_with("~$")) continue;
    Table table = read_xlsx(path.string());
    if (!has_grades(table)) continue;
    if (found)
      fail(fmt::format("{} and {}: both are sheets of grades; keep one", found->source, table.source));
    found = std::move(table);
  }
  if (!found && options.labels_required)
    fail(
        fmt::format("{}: no .xlsx file with the columns data, {}", folder.string(), fmt::join(grades, ", ")));
  return found;
}

int one_hot_label(const Table& table, const TableRow& row) {
  int label = -1;
  for (std::size_t i = 0; i < grades.size(); ++i) {
    const auto value = parse_integer(row.cells[static_cast<std::size_t>(table.find(grades[i]))]);
    if (!value || *value < 0 || *value > 1 || (*value == 1 && label >= 0))
      fail(fmt::format("exactly one of {} must be 1 and the others 0", fmt::join(grades, ", ")));
    if (*value == 1) label = static_cast<int>(i);
  }
  if (label < 0) fail(fmt::format("none of {} is 1", fmt::join(grades, ", ")));
  return label;
}

Grades read_grades(const Table& table, const DatasetOptions& options) {
  Grades result;
  for (const TableRow& row : table.rows) {
    try {
      const std::string& number = row.cells[static_cast<std::size_t>(table.find("data"))];
      if (number.empty()) fail("the column data is empty");
      const auto [first, is_new] = result.emplace(key_of(number), Grade{one_hot_label(table, row), row.line});
      if (!is_new) fail(fmt::format("'{}' stands in row {} too", number, first->second.row));
    } catch (const Error& error) {
      report_problem(options, fmt::format("{}, row {}: {}", table.source, row.line, error.what()));
    }
  }
  return result;
}

Sample read_sample(const fs::path& folder) {
  Sample sample;
  sample.id = sample.subject = folder.filename().string();
  for (const fs::path& path : list_folder(folder)) {
    if (path.stem() != sample.id || !is_image_name(path)) continue;
    if (!sample.fundus.empty())
      fail(fmt::format("{} and {}: which is the photograph?", sample.fundus, path.string()));
    sample.fundus = path.string();
  }
  if (const fs::path volume = folder / sample.id; fs::is_directory(volume))
    sample.oct = list_slices(volume.string());
  if (sample.fundus.empty() && sample.oct.empty())
    fail(fmt::format("{}: has neither {}.jpg nor a folder {} of B-scans", folder.string(), sample.id,
                     sample.id));
  return sample;
}

fs::path without_slash(const std::string& folder) {
  const fs::path path = fs::path(folder).lexically_normal();
  return path.filename().empty() ? path.parent_path() : path;
}

}  // namespace

bool is_gamma(const std::string& folder) {
  return without_slash(folder).filename() == images_folder ||
         fs::is_directory(fs::path(folder) / images_folder);
}

Dataset open_gamma(const std::string& folder, const DatasetOptions& options) {
  const bool inside = without_slash(folder).filename() == images_folder;
  const fs::path root =
      inside ? without_slash(fs::absolute(folder).string()).parent_path() : fs::path(folder);
  const auto sheet = find_sheet(root, options);
  Grades labels = sheet ? read_grades(*sheet, options) : Grades{};

  Dataset dataset{folder, {}, {}};
  for (const fs::path& path : list_folder(root / images_folder)) {
    if (!fs::is_directory(path)) continue;
    try {
      Sample sample = read_sample(path);
      const auto grade = labels.find(key_of(sample.id));
      if (grade != labels.end()) {
        sample.label = grade->second.label;
        grade->second.used = true;
      } else if (options.labels_required) {
        fail(fmt::format("{}: no row for the sample {}", sheet->source, sample.id));
      }
      dataset.samples.push_back(std::move(sample));
    } catch (const Error& error) {
      report_problem(options, error.what());
    }
  }
  for (const auto& [number, grade] : labels)
    if (!grade.used)
      report_problem(options, fmt::format("{}, row {}: there is no sample {} in {}", sheet->source, grade.row,
                                          number, (root / images_folder).string()));
  std::map<int, std::string> names;
  for (std::size_t i = 0; i < grades.size(); ++i) names.emplace(static_cast<int>(i), grades[i]);
  finish_dataset(dataset, names, options);
  return dataset;
}

}  // namespace fovea
