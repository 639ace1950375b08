// Dataset: what a set of samples is, whatever it was read from (manifest, class folders, GAMMA's layout).
//
// A sample is one visit of one eye. It may lack a modality; nothing is decoded until it is asked for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

enum class Modality : std::uint8_t { fundus, oct, vf };
inline constexpr std::array all_modalities{Modality::fundus, Modality::oct, Modality::vf};

std::string_view name_of(Modality modality);
Modality parse_modality(std::string_view name);  // UsageError, listing the known ones
std::vector<Modality> parse_modalities(
    std::string_view comma_separated);  // refuses duplicates and an empty list

enum class Eye : std::uint8_t { unknown, right, left };

/// A rectangle in pixels of the fundus photograph as stored; width 0: the whole image.
struct Box {
  int x = 0, y = 0, width = 0, height = 0;
};

/// A place in pixels of the fundus photograph as stored: 0, 0 is the corner at the upper left.
struct Point {
  double x = 0, y = 0;
};

struct Sample {
  std::string id;       // the `id` column, else the first file's name without folder and ending
  std::string subject;  // groups samples in splits; the id where the set names none
  Eye eye = Eye::unknown;
  int label = -1;                // -1: not labelled (allowed for prediction only)
  std::string split;             // as given ("train", "val", "test"), or empty
  int fold = -1;                 // as given, or -1
  std::string fundus;            // path; empty: missing
  std::vector<std::string> oct;  // paths of the B-scans in anatomical order; empty: missing
  std::vector<float> field;  // visual-field thresholds in dB in the order of its grid, as a right eye; NaN
                             // where nothing was measured; empty: missing
  Box roi;
  Box disc;                    // around the optic disc; width 0: not marked
  std::optional<Point> fovea;  // where it is marked
  int row = 0;                 // line of the manifest (1 = header), for messages

  bool has(Modality modality) const {
    return modality == Modality::fundus ? !fundus.empty()
           : modality == Modality::oct  ? !oct.empty()
                                        : !field.empty();
  }
};

struct Dataset {
  std::string source;                // what was opened, for messages and records
  std::vector<std::string> classes;  // names in label order
  std::vector<Sample> samples;
};

struct DatasetOptions {
  std::string label_column = "label";
  bool labels_required = true;
  /// Of a trained run: labels (or class folders) must be among them and need not use all.
  std::vector<std::string> classes = {};
  /// For audits: what is wrong with a row is added here and the row left out, instead of an Error for the
  /// first one.
  std::vector<std::string>* problems = nullptr;
};

/// Opens a manifest CSV (or a folder with labels.csv or manifest.csv in it), a folder of class folders, or
/// GAMMA's official layout. Every problem with the set is an Error naming file and row; unreadable images
/// show only when decoded.
Dataset open_dataset(const std::string& path, const DatasetOptions& options = {});

}  // namespace fovea
