// ROC curves and calibration: what a classifier's probabilities are worth beyond its decisions.
//
// ROC (one class against the rest): samples by falling probability of the class; every distinct probability is a
// threshold, and those that tie pass it together, so that a tie of positives and negatives is a slanted piece. The area
// (AUC, trapezoids) then is the share of pairs (positive, negative) in the right order, a tie counting one half: that of
// metrics.hpp. Points on the line between their neighbours are left out.
//
// Calibration, of the predicted class: the confidence of a sample is the probability of the class that is predicted.
// With B bins of equal width, bin b holds confidences in ((b-1)/B, b/B] (the first one 0 too), and
//   ECE    sum_b n_b / n |accuracy_b - confidence_b|                                (Guo et al. 2017)
//   Brier  mean over samples of sum_k (p_k - [label = k])^2, from 0 to 2            (Brier 1950)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/predictions.hpp"

namespace fovea {

struct RocPoint {
  double false_positive_rate = 0, true_positive_rate = 0;
};

struct RocCurve {
  std::vector<RocPoint> points;  // from (0, 0) to (1, 1), neither rate falling; none: not defined
  double auc = 0;                // NaN: not defined
};

/// Of class `k` against the rest. Not defined where every sample is of the class, or none is. Samples need a label and
/// a finite probability of the class; Error naming the one that has not.
RocCurve roc_curve(std::span<const Prediction> predictions, std::size_t k);

/// The mean of the true positive rates at each false positive rate (macro average); its area is the mean of theirs.
/// Curves that are not defined are left out.
RocCurve mean_roc(std::span<const RocCurve> curves);

struct ReliabilityBin {
  double low = 0, high = 0;  // confidences in (low, high]
  std::int64_t count = 0;
  double confidence = 0, accuracy = 0;         // means; NaN where the bin is empty
  double accuracy_low = 0, accuracy_high = 0;  // 95 % interval (Wilson 1927); NaN where the bin is empty
};

struct Calibration {
  std::vector<ReliabilityBin> bins;
  double ece = 0, brier = 0;
};

/// Samples as compute_metrics takes them; Error for an empty set, no bins, or a sample without label, prediction or
/// finite probabilities.
Calibration calibration(std::span<const Prediction> predictions, int bins = 10);

}  // namespace fovea
