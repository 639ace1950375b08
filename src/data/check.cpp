// The audit: counts, decoding of every file, leaks between splits, photographs that are there twice.
//
// Why a high-pass before the correlation: all fundus photographs share a round field of view on black and a
// light centre, which alone correlates above 0.99 between unrelated eyes. What is left without the local mean
// is vessels and the disc's rim.
#include "data/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "data/image.hpp"
#include "data/regions.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr int side = 32, reach = 2;
constexpr float alike = 0.98F;
constexpr std::size_t most_compared = 30'000;

using Thumbnail = std::array<float, side * side>;

struct File {
  const Sample* sample;
  Modality modality;
  const std::string* path;
};

struct Decoded {
  int height = 0, width = 0;
  std::string error;
  std::optional<Thumbnail> thumbnail;
};

// Zero mean, unit length, so that a correlation is a dot product; none for a picture without any structure.
std::optional<Thumbnail> make_thumbnail(const Image& photograph) {
  const Image small = resize(photograph, side, side);
  Thumbnail grey, high;
  for (int i = 0; i < side * side; ++i) {
    const std::uint8_t* p = small.pixels.data() + static_cast<std::ptrdiff_t>(i) * small.channels;
    grey[i] = small.channels == 3 ? 0.299F * p[0] + 0.587F * p[1] + 0.114F * p[2] : p[0];
  }
  float total = 0;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      float sum = 0;
      for (int dy = -reach; dy <= reach; ++dy) {
        for (int dx = -reach; dx <= reach; ++dx) {
          sum += grey[std::clamp(y + dy, 0, side - 1) * side + std::clamp(x + dx, 0, side - 1)];
        }
      }
      constexpr float window = (2 * reach + 1) * (2 * reach + 1);
      total += high[y * side + x] = grey[y * side + x] - sum / window;
    }
  }
  float square = 0;
  for (float& v : high) {
    v -= total / (side * side);
    square += v * v;
  }
  // Less than a tenth of a grey level deviation is rounding, not structure.
  if (square < 0.01F * side * side) return {};
  for (float& v : high) v /= std::sqrt(square);
  return high;
}

std::vector<File> list_files(const Dataset& dataset) {
  std::vector<File> files;
  for (const Sample& sample : dataset.samples) {
    if (!sample.fundus.empty()) files.push_back({&sample, Modality::fundus, &sample.fundus});
    for (const std::string& slice : sample.oct) files.push_back({&sample, Modality::oct, &slice});
  }
  return files;
}

Decoded decode(const File& file) {
  Decoded result;
  try {
    const Image image = read_image(*file.path, file.modality == Modality::fundus ? 3 : 1);
    result.height = image.height;
    result.width = image.width;
    if (file.modality != Modality::fundus) return result;
    result.thumbnail = make_thumbnail(image);
    const Box& box = file.sample->roi;
    if (leaves(box, image.height, image.width)) {
      result.error = fmt::format("{}: the box {} x {} at ({}, {}) leaves the photograph, {} x {} pixels",
                                 *file.path, box.width, box.height, box.x, box.y, image.width, image.height);
    } else {
      result.error = stray_mark(*file.sample, image.height, image.width);
    }
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  return result;
}

std::vector<Decoded> decode_all(const std::vector<File>& files) {
  std::vector<Decoded> decoded(files.size());
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < files.size(); ++i) decoded[i] = decode(files[i]);
  return decoded;
}

void record_images(DataReport& report, const std::vector<File>& files, const std::vector<Decoded>& decoded) {
  for (const Modality modality : {Modality::fundus, Modality::oct}) {
    DataReport::Images images{.modality = modality, .files = 0, .unreadable = 0, .sizes = {}};
    std::map<std::array<std::int64_t, 3>, int> sizes;  // area, height, width
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (files[i].modality != modality) continue;
      const Decoded& d = decoded[i];
      ++images.files;
      if (d.height == 0) {
        ++images.unreadable;
      } else {
        ++sizes[{std::int64_t{d.height} * d.width, d.height, d.width}];
      }
      if (!d.error.empty()) report.unreadable.push_back(d.error);
    }
    for (const auto& [key, count] : sizes) {
      images.sizes.push_back({static_cast<int>(key[1]), static_cast<int>(key[2]), count});
    }
    if (images.files > 0) report.images.push_back(std::move(images));
  }
}

float dot(const Thumbnail& a, const Thumbnail& b) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < side * side; ++i) sum += a[i] * b[i];
  return sum;
}

void find_near_duplicates(DataReport& report, const std::vector<File>& files,
                          const std::vector<Decoded>& decoded) {
  std::vector<std::size_t> seen;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (decoded[i].thumbnail) seen.push_back(i);
  }
  if (seen.size() > most_compared) {
    report.notes.push_back(fmt::format("near-duplicates were not looked for: {} photographs are more than {}",
                                       seen.size(), most_compared));
    return;
  }
#pragma omp parallel for schedule(dynamic, 16)
  for (std::size_t i = 0; i < seen.size(); ++i) {
    for (std::size_t j = i + 1; j < seen.size(); ++j) {
      const float similarity = dot(*decoded[seen[i]].thumbnail, *decoded[seen[j]].thumbnail);
      if (similarity < alike) continue;
      const Sample &a = *files[seen[i]].sample, &b = *files[seen[j]].sample;
#pragma omp critical
      report.near_duplicates.push_back({a.id, b.id, similarity, a.label == b.label});
    }
  }
  std::ranges::sort(report.near_duplicates, [](const auto& a, const auto& b) {
    return std::tuple(-a.similarity, a.first, a.second) < std::tuple(-b.similarity, b.first, b.second);
  });
}

template <typename Key, typename Name>
DataReport::Counts counts_of(const std::map<Key, int>& numbers, Name name) {
  DataReport::Counts counts;
  for (const auto& [key, count] : numbers) counts.emplace_back(name(key), count);
  return counts;
}

void count_samples(DataReport& report, const Dataset& dataset) {
  std::map<int, int> labels, folds;
  std::map<std::size_t, int> slices, points;
  std::map<Modality, int> modalities;
  std::map<std::string, int> splits;
  std::map<Eye, int> eyes;
  std::set<std::string> subjects;
  for (std::size_t i = 0; i < dataset.classes.size(); ++i) labels[static_cast<int>(i)] = 0;
  for (const Sample& sample : dataset.samples) {
    ++labels[sample.label];
    ++eyes[sample.eye];
    subjects.insert(sample.subject);
    if (!sample.split.empty()) ++splits[sample.split];
    if (sample.fold >= 0) ++folds[sample.fold];
    if (!sample.oct.empty()) ++slices[sample.oct.size()];
    if (!sample.field.empty()) ++points[sample.field.size()];
    for (const Modality modality : all_modalities) {
      if (sample.has(modality)) ++modalities[modality];
    }
  }
  const auto number = [](auto n) { return std::to_string(n); };
  report.samples = static_cast<int>(dataset.samples.size());
  report.subjects = static_cast<int>(subjects.size());
  report.classes = counts_of(labels, [&](int label) {
    return label >= 0 && label < std::ssize(dataset.classes) ? dataset.classes[label]
                                                             : std::string("unlabelled");
  });
  report.modalities = counts_of(modalities, [](Modality m) { return std::string(name_of(m)); });
  report.eyes = counts_of(eyes, [](Eye e) {
    return std::string(e == Eye::right ? "right" : e == Eye::left ? "left" : "unknown");
  });
  report.splits = counts_of(splits, [](const std::string& s) { return s; });
  report.folds = counts_of(folds, number);
  report.slices = counts_of(slices, number);
  report.field_points = counts_of(points, number);
}

// One way of parting the set: by split or by fold. `part` is empty where a sample has none.
template <typename Part>
void check_parts(DataReport& report, const Dataset& dataset, const std::string& kind, Part part) {
  std::map<std::string, std::set<std::string>> parts_of_subject;
  std::map<std::string, std::set<int>> labels_of_part;
  for (const Sample& sample : dataset.samples) {
    const std::string name = part(sample);
    if (name.empty()) continue;
    parts_of_subject[sample.subject].insert(name);
    labels_of_part[name].insert(sample.label);
  }
  for (const auto& [subject, parts] : parts_of_subject) {
    if (parts.size() > 1)
      report.leaks.push_back(fmt::format("subject '{}' is in {}s {}", subject, kind, fmt::join(parts, ", ")));
  }
  for (const auto& [name, labels] : labels_of_part) {
    for (int label = 0; label < std::ssize(dataset.classes); ++label) {
      if (!labels.contains(label)) {
        report.gaps.push_back(
            fmt::format("{} {} has no sample of class '{}'", kind, name, dataset.classes[label]));
      }
    }
  }
}

std::string line_of(const std::string& title, const DataReport::Counts& counts) {
  if (counts.empty()) return {};
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(fmt::format("{} {}", name, count));
  return fmt::format("{:<12}{}\n", title, fmt::join(parts, ", "));
}

std::string line_of(const DataReport::Images& images) {
  std::string line = fmt::format("{:<12}{} files", fmt::format("{}", name_of(images.modality)), images.files);
  if (images.unreadable > 0) line += fmt::format(", {} unreadable", images.unreadable);
  if (images.sizes.empty()) return line + "\n";
  const auto &least = images.sizes.front(), &most = images.sizes.back();
  line += fmt::format(", {} x {}", least.width, least.height);
  if (images.sizes.size() > 1) {
    line += fmt::format(" to {} x {} pixels ({} sizes)", most.width, most.height, images.sizes.size());
  } else {
    line += " pixels";
  }
  return line + "\n";
}

std::string list_of(const std::string& title, const std::vector<std::string>& lines) {
  if (lines.empty()) return {};
  return fmt::format("\n{} ({})\n  {}\n", title, lines.size(), fmt::join(lines, "\n  "));
}

std::vector<std::string> describe(const std::vector<DataReport::Pair>& pairs) {
  std::vector<std::string> lines;
  for (const auto& pair : pairs) {
    lines.push_back(fmt::format("{} and {}: similarity {:.4f}{}", pair.first, pair.second, pair.similarity,
                                pair.same_label ? "" : ", with different labels"));
  }
  return lines;
}

}  // namespace

DataReport check_dataset(const std::string& path, const DatasetOptions& options) {
  DataReport report;
  DatasetOptions collecting = options;
  collecting.problems = &report.rows;
  const Dataset dataset = open_dataset(path, collecting);
  report.source = dataset.source;
  count_samples(report, dataset);

  const auto files = list_files(dataset);
  const auto decoded = decode_all(files);
  record_images(report, files, decoded);
  find_near_duplicates(report, files, decoded);
  check_parts(report, dataset, "split", [](const Sample& s) { return s.split; });
  check_parts(report, dataset, "fold",
              [](const Sample& s) { return s.fold < 0 ? "" : std::to_string(s.fold); });
  return report;
}

std::string to_text(const DataReport& report) {
  std::string text = fmt::format("{}\n\n{:<12}{} of {} subjects\n", report.source, "samples", report.samples,
                                 report.subjects);
  text += line_of("classes", report.classes) + line_of("modalities", report.modalities) +
          line_of("eyes", report.eyes) + line_of("splits", report.splits) + line_of("folds", report.folds);
  for (const auto& images : report.images) text += line_of(images);
  const auto by = [](DataReport::Counts counts, const std::string& unit) {
    for (auto& [name, count] : counts) name += unit;
    return counts;
  };
  text += line_of("volumes", by(report.slices, " slices:")) +
          line_of("fields", by(report.field_points, " points:"));
  text += list_of("rows that cannot be used", report.rows);
  text += list_of("unreadable images", report.unreadable);
  text += list_of("subjects across parts", report.leaks);
  text += list_of("parts without a class", report.gaps);
  text += list_of("near-duplicate photographs, to look at", describe(report.near_duplicates));
  text += list_of("not checked", report.notes);
  const auto problems =
      report.rows.size() + report.unreadable.size() + report.leaks.size() + report.gaps.size();
  return text + (report.ok() ? "\nok\n"
                             : fmt::format("\nnot ok: {} problem{}\n", problems, problems == 1 ? "" : "s"));
}

std::string to_json(const DataReport& report) {
  using Json = nlohmann::ordered_json;
  const auto object = [](const DataReport::Counts& counts) {
    Json json = Json::object();
    for (const auto& [name, count] : counts) json[name] = count;
    return json;
  };
  Json json;
  json["source"] = report.source;
  json["ok"] = report.ok();
  json["samples"] = report.samples;
  json["subjects"] = report.subjects;
  json["classes"] = object(report.classes);
  json["modalities"] = object(report.modalities);
  json["eyes"] = object(report.eyes);
  json["splits"] = object(report.splits);
  json["folds"] = object(report.folds);
  json["slices"] = object(report.slices);
  json["field_points"] = object(report.field_points);
  json["images"] = Json::object();
  for (const auto& images : report.images) {
    Json sizes = Json::array();
    for (const auto& size : images.sizes) {
      sizes.push_back({{"width", size.width}, {"height", size.height}, {"files", size.files}});
    }
    json["images"][std::string(name_of(images.modality))] = {
        {"files", images.files}, {"unreadable", images.unreadable}, {"sizes", std::move(sizes)}};
  }
  json["rows"] = report.rows;
  json["unreadable"] = report.unreadable;
  json["leaks"] = report.leaks;
  json["gaps"] = report.gaps;
  json["near_duplicates"] = Json::array();
  for (const auto& pair : report.near_duplicates) {
    json["near_duplicates"].push_back({{"ids", {pair.first, pair.second}},
                                       {"similarity", pair.similarity},
                                       {"same_label", pair.same_label}});
  }
  json["notes"] = report.notes;
  // A manifest may hold bytes that are no UTF-8; they must not stop the report.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fovea
