// The seven metrics of metrics.hpp from counts, and the draws of the bootstrap: what intervals and paired differences
// share. A resample is a count for each sample, so the point estimate is the resample with all counts 1, and the orders by
// probability are sorted once for all resamples.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/metrics.hpp"

namespace fovea {

inline constexpr std::size_t metric_count = 7;
using Scores = std::array<double, metric_count>;  // in the order of named_metrics(); NaN where undefined
using Counts = std::vector<std::int64_t>;         // how often each sample was drawn

/// Error naming the first sample that metrics of so many classes cannot use; Error where there is none.
void check_predictions(std::span<const Prediction> predictions, std::size_t classes);

std::vector<ClassScores> class_scores(const Confusion& confusion);

/// Of predictions that outlive it and are checked.
class Evaluator {
 public:
  Evaluator(std::span<const Prediction> predictions, std::size_t classes);
  Confusion confusion(const Counts& counts) const;
  Scores scores(const Counts& counts) const;

 private:
  std::vector<std::size_t> order_by(std::size_t k) const;
  double auroc(const Counts& counts) const;
  double auroc_of(std::size_t k, const Counts& counts) const;

  std::span<const Prediction> predictions_;
  std::size_t classes_;
  std::vector<bool> present_;                     // the class has samples in the whole set
  std::vector<std::vector<std::size_t>> orders_;  // for each class, samples by rising probability
};

/// Several networks' predictions of the same samples, one list a seed. A score is the mean over the seeds.
class SeedEvaluator {
 public:
  /// Samples are matched by id and taken in the order of `order`, or else of the first list. Error where they are not of
  /// the same samples, subjects and labels.
  SeedEvaluator(std::span<const std::vector<Prediction>> seeds, std::size_t classes,
                std::span<const Prediction> order = {});
  SeedEvaluator(const SeedEvaluator&) = delete;
  SeedEvaluator& operator=(const SeedEvaluator&) = delete;

  std::span<const Prediction> samples() const { return lists_.front(); }
  std::span<const std::vector<Prediction>> lists() const { return lists_; }
  Confusion confusion() const;  // summed over the seeds
  Scores scores(const Counts& counts) const;

 private:
  std::vector<std::vector<Prediction>> lists_;
  std::vector<Evaluator> evaluators_;
};

/// Draws as many subjects as there are, with replacement; a sample counts as often as its subject was drawn. A double in
/// [0, 1) from each two words of Philox, times the number of subjects.
class SubjectDraws {
 public:
  SubjectDraws(std::span<const Prediction> samples, std::uint64_t seed);
  Counts draw(int number) const;
  bool one_sample_each() const { return subjects_ == subject_of_.size(); }

 private:
  std::vector<std::size_t> subject_of_;  // each sample's, numbered as they appear
  std::size_t subjects_ = 0;
  std::uint64_t seed_;
};

/// numpy.percentile's default: linear between the two nearest.
double percentile(std::span<const double> sorted, double share);

/// The value with the 2.5th and 97.5th percentile of what was drawn; without draws the value alone.
MetricValue with_interval(double value, std::vector<double> drawn);

}  // namespace fovea
