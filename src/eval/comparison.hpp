// A comparison of models on one set: what `fovea compare` found, and its tables.
//
// A row is a model with its settings, trained once for every fold and seed. Its predictions of all folds are pooled, so
// that every sample of the set is predicted once a seed by a network that has not seen it; figures are the mean over the
// seeds. Intervals are 95 % percentile bootstraps over subjects (see metrics.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/epoch_log.hpp"
#include "eval/html.hpp"
#include "eval/metrics.hpp"
#include "eval/predictions.hpp"
#include "eval/significance.hpp"

namespace fovea {

/// One training: a row on a fold with a seed.
struct ComparedRun {
  int fold = 0;
  std::uint64_t seed = 0;
  std::string folder;  // relative to the comparison's
  std::vector<EpochRow> epochs;
  std::optional<Metrics> metrics;  // of its held-out part; none: not finished
  double seconds = 0;              // spent training, validation included
  double images_per_s = 0;         // in training, mean over the epochs
  std::string failure;             // one sentence; empty: none
};

enum class RowKind : std::uint8_t { model, ablation };

struct ComparedRow {
  std::string name;  // of the table: "resnet18", "hm-vgg (fundus, vf)", "hm-vgg (fundus) without HAM"
  std::string model;
  RowKind kind = RowKind::model;
  std::vector<std::pair<std::string, std::string>>
      settings;  // keys of the configuration that are this row's own
  std::int64_t parameters = 0;
  double gflops = 0;  // of one image's inference, a multiply-add counted as two
  std::vector<ComparedRun> runs;
  std::vector<std::vector<Prediction>>
      predictions;                 // one list a seed, pooled over the folds; of finished seeds
  std::optional<Metrics> metrics;  // none: no seed has all its folds
  std::string maps;  // a JPEG or PNG file's bytes: class activation maps of its first run; empty: none
  std::optional<PairedDifference>
      difference;  // from the reference row; none: that row itself, or not finished
};

/// A sample that many rows get wrong.
struct HardSample {
  std::string id, subject;
  int label = 0;
  std::int64_t wrong = 0, of = 0;       // predictions, over all rows and seeds
  std::vector<std::int64_t> predicted;  // how often each class was
  std::vector<Picture> pictures;        // what the networks saw
};

struct Comparison {
  std::string title;      // "8 models on gamma_fundus"
  std::string reference;  // name of the row that others are tested against
  std::vector<std::string> classes;
  std::vector<std::pair<std::string, std::string>> facts;  // set, split, image size, epochs, ...
  std::vector<std::string> notes;                          // sentences a reader must know
  std::vector<ComparedRow> rows;
  std::vector<HardSample> hardest;
  std::string config;  // config.toml that all rows share
  std::string stamp;   // stamp.json
};

/// The columns of the table, in order, for all its forms.
struct ComparisonColumn {
  std::string name;   // of CSV and JSON: "accuracy"
  std::string title;  // for people: "accuracy"
  bool number = true;
};
std::vector<ComparisonColumn> comparison_columns(const Comparison& comparison);
/// A row's cells as text for people, in the order of the columns; empty where there is nothing.
std::vector<std::string> comparison_cells(const Comparison& comparison, const ComparedRow& row);
/// By what a reader sorts a cell: the number itself; NaN where there is none.
std::vector<double> comparison_values(const Comparison& comparison, const ComparedRow& row);

/// The at most `count` samples that most predictions of the rows get wrong, the worst first, in the order of the first
/// row where that is equal; without pictures. What every row has right is left out.
std::vector<HardSample> hardest_samples(const std::vector<ComparedRow>& rows, std::size_t classes,
                                        std::size_t count);

std::string comparison_text(const Comparison& comparison);  // for a terminal
std::string comparison_markdown(const Comparison& comparison);
std::string comparison_csv(const Comparison& comparison);  // numbers round-trip
std::string comparison_json(const Comparison& comparison);

}  // namespace fovea
