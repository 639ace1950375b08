// Rules for whole sets. See dataset_rules.hpp.
#include "data/dataset_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <system_error>

#include "data/csv.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr int max_classes = 1000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Runs of digits compare as numbers (longer without leading zeros is larger), all else by bytes.
bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      ++i, ++j;
      continue;
    }
    const auto digits = [](std::string_view text, std::size_t& at) {
      while (at < text.size() && text[at] == '0') ++at;
      const std::size_t start = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(start, at - start);
    };
    const std::string_view x = digits(a, i), y = digits(b, j);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;
}

void check_ids(Dataset& dataset, const DatasetOptions& options) {
  std::map<std::string, std::string> owner;
  std::erase_if(dataset.samples, [&](const Sample& sample) {
    const std::string place = where(dataset, sample);
    const auto [first, is_new] = owner.emplace(sample.id, place);
    if (!is_new)
      report_problem(
          options,
          fmt::format("{}: the id '{}' is that of {} too; ids must differ (a manifest may have a column id)",
                      place, sample.id, first->second));
    return !is_new;
  });
}

// The first label from 0 up that no sample has.
int first_unused_label(const Dataset& dataset) {
  std::set<int> used;
  for (const Sample& sample : dataset.samples) used.insert(sample.label);
  int label = 0;
  while (used.contains(label)) ++label;
  return label;
}

void check_labels(Dataset& dataset, const DatasetOptions& options) {
  const bool known = !options.classes.empty();
  if (!known && !options.labels_required) return;
  const int count = known ? static_cast<int>(options.classes.size()) : first_unused_label(dataset);
  std::erase_if(dataset.samples, [&](const Sample& sample) {
    if (sample.label < count) return false;
    const std::string rule =
        known ? fmt::format("there are {} classes ({}): labels are 0 to {}", count,
                            fmt::join(options.classes, ", "), count - 1)
              : fmt::format("no sample has label {}: labels are 0, 1, 2, ... without a gap", count);
    report_problem(options, fmt::format("{}: label {}, but {}", where(dataset, sample), sample.label, rule));
    return true;
  });
}

void name_classes(Dataset& dataset, const std::map<int, std::string>& names, const DatasetOptions& options) {
  dataset.classes = options.classes;
  if (!dataset.classes.empty()) return;
  int count = 0;
  for (const Sample& sample : dataset.samples) count = std::max(count, sample.label + 1);
  for (const auto& [label, name] : names) count = std::max(count, label + 1);
  for (int label = 0; label < count; ++label) {
    const auto name = names.find(label);
    dataset.classes.push_back(name == names.end() ? std::to_string(label) : name->second);
  }
}

}  // namespace

void report_problem(const DatasetOptions& options, const std::string& problem) {
  if (options.problems == nullptr) fail(problem);
  options.problems->push_back(problem);
}

std::string where(const Dataset& dataset, const Sample& sample) {
  return sample.row > 0 ? fmt::format("{}, row {}", dataset.source, sample.row)
                        : fmt::format("{}, sample '{}'", dataset.source, sample.id);
}

int parse_label(const std::string& cell) {
  const auto label = parse_integer(cell);
  if (!label)
    fail(fmt::format("the label '{}' is not an integer; labels are 0, 1, 2, ... in the order of the classes",
                     cell));
  if (*label < 0 || *label >= max_classes)
    fail(fmt::format("label {} is out of range; labels are 0, 1, 2, ... and at most {}", *label,
                     max_classes - 1));
  return static_cast<int>(*label);
}

void finish_dataset(Dataset& dataset, const std::map<int, std::string>& names,
                    const DatasetOptions& options) {
  check_ids(dataset, options);
  check_labels(dataset, options);
  if (dataset.samples.empty()) report_problem(options, fmt::format("{}: the set is empty", dataset.source));
  name_classes(dataset, names, options);
}

bool is_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with('.') && name != "__MACOSX") entries.push_back(at->path());
  }
  if (error) fail(fmt::format("{}: cannot be listed: {}", folder.string(), error.message()));
  std::sort(entries.begin(), entries.end(), [](const fs::path& a, const fs::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return entries;
}

}  // namespace fovea
