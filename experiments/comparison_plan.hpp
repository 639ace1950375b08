// What a comparison trains: its rows, and for each of them a training for every fold and seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "eval/comparison.hpp"
#include "run_config.hpp"

namespace fovea {

struct ComparisonOptions {
  std::string models = "all";  // those of the paper's Table 1, or names with commas
  std::vector<std::string>
      modality_sets;                  // of hm-vgg, each "fundus,vf"; none: every set of what the data have
  std::int64_t seeds = 1;             // the configuration's and those after it
  bool folds_given = false;           // whether the configuration's number of folds was asked for
  bool ablations = false;             // also hm-vgg without each of its parts
  std::vector<std::string> settings;  // MODEL:KEY=VALUE, for the rows of one model
  std::string
      reference;  // a row's name; empty: hm-vgg on photographs, else the first hm-vgg, else the first row
};

/// One training.
struct PlannedRun {
  std::size_t row = 0;
  int fold = 0;
  std::uint64_t seed = 0;
  std::string name;                      // "resnet18/fold0-seed0": of its folder and its log
  std::vector<std::string> assignments;  // KEY=VALUE over the shared configuration
};

enum class RunState : std::uint8_t { fresh, begun, finished };

struct ComparisonPlan {
  std::vector<ComparedRow> rows;  // names, kinds and settings; without runs
  std::vector<PlannedRun> runs;   // fold by fold, so that every row has figures early
  std::string reference;
  std::vector<std::string> notes;
};

/// UsageError for unknown models, modalities that no sample has, more folds than the set names, settings of a model that
/// is not compared, a reference that is no row, or rows that are the same.
ComparisonPlan plan_comparison(const RunConfig& shared, const Dataset& dataset,
                               const ComparisonOptions& options);

}  // namespace fovea
