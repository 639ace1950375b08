// See curves.hpp. Rates are taken from whole counts, so that equal ones compare equal.
#include "eval/curves.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

void check(const Prediction& row, std::size_t k) {
  if (row.label < 0) fail(fmt::format("sample '{}' has no label; curves need one", row.id));
  if (k >= row.probabilities.size())
    fail(fmt::format("sample '{}' has no probability of class {}", row.id, k));
  if (!std::isfinite(row.probabilities[k])) {
    fail(fmt::format("sample '{}' has the probability {} of class {}; curves need finite ones", row.id,
                     row.probabilities[k], k));
  }
}

struct Passed {
  std::int64_t negatives = 0, positives = 0;
};

/// How many are at or above each threshold, from none to all.
std::vector<Passed> passed_by_threshold(std::span<const Prediction> predictions, std::size_t k) {
  std::vector<std::size_t> order(predictions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto probability = [&](std::size_t i) { return predictions[i].probabilities[k]; };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return probability(a) > probability(b); });
  std::vector<Passed> passed{{}};
  Passed now;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool positive = static_cast<std::size_t>(predictions[order[i]].label) == k;
    ++(positive ? now.positives : now.negatives);
    const bool tied = i + 1 < order.size() && probability(order[i + 1]) == probability(order[i]);
    if (!tied) passed.push_back(now);
  }
  return passed;
}

bool on_one_line(const Passed& a, const Passed& b, const Passed& c) {
  return (b.negatives - a.negatives) * (c.positives - b.positives) ==
         (c.negatives - b.negatives) * (b.positives - a.positives);
}

double area(std::span<const RocPoint> points) {
  double sum = 0;
  for (std::size_t i = 1; i < points.size(); ++i) {
    sum += (points[i].false_positive_rate - points[i - 1].false_positive_rate) *
           (points[i].true_positive_rate + points[i - 1].true_positive_rate) / 2;
  }
  return sum;
}

struct Limits {
  double left, right;
};

/// The true positive rate as the false positive rate comes to `x` from below, and as it leaves it.
Limits limits_at(const std::vector<RocPoint>& points, double x) {
  const auto by_rate = [](const RocPoint& p, double rate) { return p.false_positive_rate < rate; };
  const auto at = std::lower_bound(points.begin(), points.end(), x, by_rate);
  if (at->false_positive_rate > x) {
    const RocPoint &a = at[-1], &b = *at;
    const double share = (x - a.false_positive_rate) / (b.false_positive_rate - a.false_positive_rate);
    const double y = a.true_positive_rate + share * (b.true_positive_rate - a.true_positive_rate);
    return {y, y};
  }
  auto last = at;
  while (last + 1 != points.end() && last[1].false_positive_rate == x) ++last;
  return {at->true_positive_rate, last->true_positive_rate};
}

/// Wilson's score interval of a share, 95 %.
void set_interval(ReliabilityBin& bin) {
  constexpr double z = 1.959963984540054;
  const double n = static_cast<double>(bin.count), p = bin.accuracy, scale = 1 + z * z / n;
  const double middle = (p + z * z / (2 * n)) / scale;
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale;
  bin.accuracy_low = std::max(0.0, middle - half);
  bin.accuracy_high = std::min(1.0, middle + half);
}

/// The bin whose (low, high] holds the confidence, by the very bounds that the bins state.
std::size_t bin_of(const std::vector<ReliabilityBin>& bins, double confidence) {
  std::size_t b = 0;
  while (b + 1 < bins.size() && confidence > bins[b].high) ++b;
  return b;
}

double squared_error(const Prediction& row) {
  double sum = 0;
  for (std::size_t k = 0; k < row.probabilities.size(); ++k) {
    const double off = row.probabilities[k] - (static_cast<std::size_t>(row.label) == k ? 1 : 0);
    sum += off * off;
  }
  return sum;
}

}  // namespace

RocCurve roc_curve(std::span<const Prediction> predictions, std::size_t k) {
  for (const Prediction& row : predictions) check(row, k);
  const std::vector<Passed> passed = passed_by_threshold(predictions, k);
  const Passed all = passed.back();
  if (all.negatives == 0 || all.positives == 0) return {{}, undefined};
  RocCurve curve;
  for (std::size_t i = 0; i < passed.size(); ++i) {
    if (i > 0 && i + 1 < passed.size() && on_one_line(passed[i - 1], passed[i], passed[i + 1])) continue;
    curve.points.push_back({static_cast<double>(passed[i].negatives) / static_cast<double>(all.negatives),
                            static_cast<double>(passed[i].positives) / static_cast<double>(all.positives)});
  }
  curve.auc = area(curve.points);
  return curve;
}

RocCurve mean_roc(std::span<const RocCurve> curves) {
  std::vector<double> rates;
  double defined = 0;
  for (const RocCurve& curve : curves) {
    for (const RocPoint& point : curve.points) rates.push_back(point.false_positive_rate);
    defined += !curve.points.empty();
  }
  if (rates.empty()) return {{}, undefined};
  std::sort(rates.begin(), rates.end());
  rates.erase(std::unique(rates.begin(), rates.end()), rates.end());
  RocCurve mean;
  for (const double x : rates) {
    Limits sum{0, 0};
    for (const RocCurve& curve : curves) {
      if (curve.points.empty()) continue;
      const Limits limits = limits_at(curve.points, x);
      sum.left += limits.left;
      sum.right += limits.right;
    }
    mean.points.push_back({x, sum.left / defined});
    if (sum.right > sum.left) mean.points.push_back({x, sum.right / defined});
  }
  mean.auc = area(mean.points);
  return mean;
}

Calibration calibration(std::span<const Prediction> predictions, int bins) {
  if (predictions.empty()) fail("there are no samples to calibrate; check the split");
  if (bins < 1) fail(fmt::format("calibration needs at least one bin, not {}", bins));
  Calibration result;
  for (int b = 0; b < bins; ++b)
    result.bins.push_back({.low = static_cast<double>(b) / bins, .high = static_cast<double>(b + 1) / bins});
  const double n = static_cast<double>(predictions.size());
  for (const Prediction& row : predictions) {
    for (std::size_t k = 0; k < row.probabilities.size(); ++k) check(row, k);
    check(row, static_cast<std::size_t>(row.predicted));
    const double confidence = row.probabilities[static_cast<std::size_t>(row.predicted)];
    ReliabilityBin& bin = result.bins[bin_of(result.bins, confidence)];
    ++bin.count;
    bin.confidence += confidence;
    bin.accuracy += row.predicted == row.label;
    result.brier += squared_error(row) / n;
  }
  for (ReliabilityBin& bin : result.bins) {
    const double count = static_cast<double>(bin.count);
    bin.confidence = bin.count == 0 ? undefined : bin.confidence / count;
    bin.accuracy = bin.count == 0 ? undefined : bin.accuracy / count;
    if (bin.count == 0) {
      bin.accuracy_low = bin.accuracy_high = undefined;
    } else {
      set_interval(bin);
      result.ece += count / n * std::abs(bin.accuracy - bin.confidence);
    }
  }
  return result;
}

}  // namespace fovea
