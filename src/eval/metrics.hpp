// Metrics of a classification: what a run reports about its held-out part, with bootstrap intervals.
//
// Definitions (K classes, confusion C with rows = label, columns = prediction), those of scikit-learn, which
// the tests compare with to 1e-12:
//   accuracy   sum_k C[k,k] / n
//   precision  mean over classes of C[k,k] / sum_i C[i,k]
//   recall     mean over classes of C[k,k] / sum_j C[k,j]
//   f1         mean over classes of 2 C[k,k] / (sum_i C[i,k] + sum_j C[k,j])
//   f1_pr      2PR/(P+R) of the two means (the form that HM-VGG's Table 1 prints)
//   kappa      1 - sum w C / sum w E, w = (i-j)^2, E = outer(rows, columns)/n      quadratic-weighted
//   (GAMMA's metric) auroc      mean over classes of the area under the one-vs-rest ROC curve, a tie counting
//   one half
// Division by zero: precision, recall and F1 of a class are 0 where their denominator is 0 (a class never
// predicted, or absent), and the means run over all classes of the set, absent ones included (labels =
// range(K), zero_division = 0). auroc averages over the classes that have both a positive and a negative
// sample. What remains undefined counts as chance: auroc 0.5 where no class has both, kappa 0 where labels
// and predictions are all one and the same class.
//
// Intervals: 95 %, percentile bootstrap over subjects (Efron 1979; the cluster bootstrap where a subject has several
// samples, which are no independent ones): as many subjects as there are are drawn with replacement, each with all its
// samples, `resamples` times, no stratification, 2.5th and 97.5th percentile with linear interpolation. In a resample
// that has lost every sample of a class, that class is left out of its means (a class without samples in the
// whole set stays in, as above); one in which auroc or kappa is undefined is left out of that metric's
// interval. Draws come from Philox 4x32-10 (Random123), counter = (resample, block), key = seed: the same on
// every machine and with any number of threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/predictions.hpp"

namespace fovea {

struct MetricValue {
  double value = 0, low = 0, high = 0;
};

struct ClassScores {
  double precision = 0, recall = 0, f1 = 0;
  std::int64_t samples = 0;
};

using Confusion = std::vector<std::vector<std::int64_t>>;  // [label][predicted]

struct Metrics {
  MetricValue accuracy, precision, recall, f1, f1_pr, kappa, auroc;
  std::int64_t n = 0;
  std::vector<std::string> classes;
  Confusion confusion;
  std::vector<ClassScores> per_class;
};

/// The seven in the order of metrics.json, for loops over them.
struct NamedMetric {
  std::string_view name;   // as in metrics.json
  std::string_view title;  // for people
  MetricValue Metrics::*member;
};
std::span<const NamedMetric> named_metrics();

struct BootstrapOptions {
  int resamples = 2000;  // 0: no intervals, low = high = value
  std::uint64_t seed = 0;
};

/// Every sample needs a label and a prediction in [0, K) and K finite probabilities, K = classes.size(); else
/// Error naming it. An empty set is an Error.
Metrics compute_metrics(std::span<const Prediction> predictions, const std::vector<std::string>& classes,
                        const BootstrapOptions& options = {});

/// Of several networks that predict the same samples, one list a seed: every figure is the mean over the seeds (the
/// confusion matrix and the scores of a class are of all their predictions), and a resample takes the same subjects for all.
/// `n` is the number of samples. Error as above, and where the lists are not of the same samples and labels.
Metrics compute_seed_metrics(std::span<const std::vector<Prediction>> seeds,
                             const std::vector<std::string>& classes, const BootstrapOptions& options = {});

/// metrics.json: {"accuracy": {"value","low","high"}, ..., "n", "classes", "confusion"}; numbers round-trip.
std::string metrics_json(const Metrics& metrics);

/// The table for a terminal: each metric with its interval, the paper's figure beside it where `model` is one
/// of its Table 1 (with the note that the two cannot be compared), the scores of each class, the confusion
/// matrix.
std::string metrics_table(const Metrics& metrics, std::string_view model = {});

/// Table 1 of HM-VGG (arXiv 2410.24046) as printed, for display only; its F1 is 2PR/(P+R). Null for another
/// model.
struct PaperRow {
  std::string_view model;  // this program's name
  double precision, recall, accuracy, f1_pr;
};
/// Null too where the task is not the paper's, three grades.
const PaperRow* paper_row(std::string_view model, std::size_t classes);
/// The row's figure for one of named_metrics(); NaN where the paper prints none.
double paper_value(const PaperRow& row, std::string_view metric);
extern const std::string_view paper_note;

}  // namespace fovea
