// Which samples train, which validate, which are held out to the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace fovea {

/// Indices into Dataset::samples, ascending in each part.
///
/// Where nothing separate is set aside for validation (folds; a given split without `val`), the held-out part
/// serves as both: it is what each epoch validates on and what the end evaluates, and `held_out_validates` is
/// true. Choosing the best epoch by it then looks at the held-out part, which flatters the figures of that
/// epoch a little: say so beside them.
struct Split {
  std::vector<int> train, validation, test;
  bool held_out_validates = false;
  /// For people and records: "column split", "column fold, fold 0 of 5", "stratified fold 0 of 5, seed 0".
  std::string origin;
};

struct SplitOptions {
  int fold = -1;  // -1: the column split where the set has one, else fold 0
  int folds = 5;  // for sets without a column fold
  std::uint64_t seed = 0;
};

/// Given folds go before computed ones; a set's column split is used only where no fold is asked for.
/// Error: fewer than two classes; a split or fold named for some samples only (with the row); no such fold; a
/// subject in two parts; a class missing from a part; more folds than a class has subjects.
Split make_split(const Dataset& dataset, const SplitOptions& options = {});

/// Fold of every sample, 0..folds-1: stratified by label, never parting a subject (scikit-learn's
/// StratifiedGroupKFold: subjects in random order, then by how unevenly they hold classes, each into the fold
/// where the class shares stay most alike).
std::vector<int> stratified_folds(const Dataset& dataset, int folds, std::uint64_t seed);

}  // namespace fovea
