// See scores.hpp and metrics.hpp.
#include "eval/scores.hpp"

#include <Random123/philox.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

double ratio(double numerator, double denominator) { return denominator == 0 ? 0 : numerator / denominator; }

double kappa(const Confusion& matrix, double total) {
  const std::size_t classes = matrix.size();
  std::vector<double> rows(classes), columns(classes);
  for (std::size_t i = 0; i < classes; ++i) {
    for (std::size_t j = 0; j < classes; ++j) {
      rows[i] += static_cast<double>(matrix[i][j]);
      columns[j] += static_cast<double>(matrix[i][j]);
    }
  }
  double observed = 0, expected = 0;
  for (std::size_t i = 0; i < classes; ++i) {
    for (std::size_t j = 0; j < classes; ++j) {
      const double distance = static_cast<double>(i) - static_cast<double>(j);
      observed += distance * distance * static_cast<double>(matrix[i][j]);
      expected += distance * distance * rows[i] * columns[j] / total;
    }
  }
  return expected == 0 ? undefined : 1 - observed / expected;
}

// The list in the order of `wanted`.
std::vector<Prediction> in_order(const std::vector<Prediction>& list, std::span<const Prediction> wanted) {
  std::map<std::string, const Prediction*> by_id;
  for (const Prediction& row : list) {
    if (!by_id.emplace(row.id, &row).second) fail(fmt::format("sample '{}' is predicted twice", row.id));
  }
  if (list.size() != wanted.size()) {
    fail(fmt::format("{} samples cannot be compared with {}: both must be predictions of the same ones",
                     list.size(), wanted.size()));
  }
  std::vector<Prediction> sorted;
  for (const Prediction& row : wanted) {
    const auto found = by_id.find(row.id);
    if (found == by_id.end())
      fail(fmt::format("sample '{}' is predicted by one of two models alone", row.id));
    if (found->second->label != row.label || found->second->subject != row.subject) {
      fail(
          fmt::format("sample '{}' has another label or subject with one model than with the other", row.id));
    }
    sorted.push_back(*found->second);
  }
  return sorted;
}

}  // namespace

void check_predictions(std::span<const Prediction> predictions, std::size_t classes) {
  if (predictions.empty()) fail("there are no samples to compute metrics of; check the split");
  for (const Prediction& row : predictions) {
    const auto within = [&](int k) { return k >= 0 && static_cast<std::size_t>(k) < classes; };
    if (!within(row.label))
      fail(fmt::format("sample '{}' has label {}; metrics need 0 to {}", row.id, row.label, classes - 1));
    if (!within(row.predicted))
      fail(fmt::format("sample '{}' is predicted as {} of {} classes", row.id, row.predicted, classes));
    if (row.probabilities.size() != classes) {
      fail(fmt::format("sample '{}' has {} probabilities for {} classes", row.id, row.probabilities.size(),
                       classes));
    }
    for (const double p : row.probabilities) {
      if (!std::isfinite(p)) {
        fail(fmt::format(
            "sample '{}' has the probability {}; the model's weights are not usable (training diverged?)",
            row.id, p));
      }
    }
  }
}

std::vector<ClassScores> class_scores(const Confusion& matrix) {
  std::vector<ClassScores> scores(matrix.size());
  for (std::size_t k = 0; k < matrix.size(); ++k) {
    double predicted = 0;
    for (const auto& row : matrix) predicted += static_cast<double>(row[k]);
    scores[k].samples = std::accumulate(matrix[k].begin(), matrix[k].end(), std::int64_t{0});
    const double hits = static_cast<double>(matrix[k][k]), labelled = static_cast<double>(scores[k].samples);
    scores[k].precision = ratio(hits, predicted);
    scores[k].recall = ratio(hits, labelled);
    scores[k].f1 = ratio(2 * hits, predicted + labelled);
  }
  return scores;
}

Evaluator::Evaluator(std::span<const Prediction> predictions, std::size_t classes)
    : predictions_(predictions), classes_(classes) {
  present_.resize(classes);
  for (const Prediction& row : predictions) present_[static_cast<std::size_t>(row.label)] = true;
  for (std::size_t k = 0; k < classes; ++k) orders_.push_back(order_by(k));
}

Confusion Evaluator::confusion(const Counts& counts) const {
  Confusion matrix(classes_, std::vector<std::int64_t>(classes_));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    matrix[static_cast<std::size_t>(predictions_[i].label)]
          [static_cast<std::size_t>(predictions_[i].predicted)] += counts[i];
  }
  return matrix;
}

Scores Evaluator::scores(const Counts& counts) const {
  const Confusion matrix = confusion(counts);
  const std::vector<ClassScores> classes = class_scores(matrix);
  double total = 0, hits = 0, averaged = 0, precision = 0, recall = 0, f1 = 0;
  for (std::size_t k = 0; k < classes_; ++k) {
    total += static_cast<double>(classes[k].samples);
    hits += static_cast<double>(matrix[k][k]);
    if (present_[k] && classes[k].samples == 0) continue;  // lost by this resample
    averaged += 1;
    precision += classes[k].precision;
    recall += classes[k].recall;
    f1 += classes[k].f1;
  }
  precision /= averaged;
  recall /= averaged;
  return {hits / total,
          precision,
          recall,
          f1 / averaged,
          ratio(2 * precision * recall, precision + recall),
          kappa(matrix, total),
          auroc(counts)};
}

std::vector<std::size_t> Evaluator::order_by(std::size_t k) const {
  std::vector<std::size_t> order(predictions_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return predictions_[a].probabilities[k] < predictions_[b].probabilities[k];
  });
  return order;
}

double Evaluator::auroc(const Counts& counts) const {
  double sum = 0, defined = 0;
  for (std::size_t k = 0; k < classes_; ++k) {
    const double area = auroc_of(k, counts);
    if (std::isnan(area)) continue;
    sum += area;
    defined += 1;
  }
  return defined == 0 ? undefined : sum / defined;
}

/// Mann-Whitney: the share of pairs (positive, negative) in the right order, a tie counting one half.
/// Counted in halves of a pair, so exact.
double Evaluator::auroc_of(std::size_t k, const Counts& counts) const {
  const std::vector<std::size_t>& order = orders_[k];
  std::int64_t positives = 0, negatives = 0, half_pairs = 0;
  for (std::size_t first = 0; first < order.size();) {
    const double p = predictions_[order[first]].probabilities[k];
    std::int64_t tied_positives = 0, tied_negatives = 0;
    for (; first < order.size() && predictions_[order[first]].probabilities[k] == p; ++first) {
      const bool positive = static_cast<std::size_t>(predictions_[order[first]].label) == k;
      (positive ? tied_positives : tied_negatives) += counts[order[first]];
    }
    half_pairs += tied_positives * (2 * negatives + tied_negatives);
    positives += tied_positives;
    negatives += tied_negatives;
  }
  if (positives == 0 || negatives == 0) return undefined;
  return static_cast<double>(half_pairs) /
         (2 * static_cast<double>(positives) * static_cast<double>(negatives));
}

SeedEvaluator::SeedEvaluator(std::span<const std::vector<Prediction>> seeds, std::size_t classes,
                             std::span<const Prediction> order)
    : lists_(seeds.begin(), seeds.end()) {
  if (lists_.empty()) fail("there are no predictions to compute metrics of");
  const bool matched = !order.empty() || seeds.size() > 1;
  if (order.empty()) order = seeds.front();
  for (std::vector<Prediction>& list : lists_) {
    if (matched) list = in_order(list, order);
    check_predictions(list, classes);
  }
  for (const std::vector<Prediction>& list : lists_) evaluators_.emplace_back(list, classes);
}

Confusion SeedEvaluator::confusion() const {
  Confusion sum;
  for (const Evaluator& evaluator : evaluators_) {
    const Confusion one = evaluator.confusion(Counts(samples().size(), 1));
    if (sum.empty()) sum.assign(one.size(), std::vector<std::int64_t>(one.size()));
    for (std::size_t i = 0; i < one.size(); ++i) {
      for (std::size_t j = 0; j < one.size(); ++j) sum[i][j] += one[i][j];
    }
  }
  return sum;
}

Scores SeedEvaluator::scores(const Counts& counts) const {
  Scores mean{};
  for (const Evaluator& evaluator : evaluators_) {
    const Scores one = evaluator.scores(counts);
    for (std::size_t m = 0; m < metric_count; ++m)
      mean[m] += one[m] / static_cast<double>(evaluators_.size());
  }
  return mean;
}

SubjectDraws::SubjectDraws(std::span<const Prediction> samples, std::uint64_t seed) : seed_(seed) {
  std::map<std::string_view, std::size_t> numbers;
  for (const Prediction& row : samples) {
    const std::string_view name = row.subject.empty() ? row.id : row.subject;
    const auto [found, added] = numbers.emplace(name, subjects_);
    subjects_ += added || name.empty();  // one without a name is a subject of its own
    subject_of_.push_back(name.empty() ? subjects_ - 1 : found->second);
  }
}

Counts SubjectDraws::draw(int number) const {
  const r123::Philox4x32::key_type key{
      {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)}};
  r123::Philox4x32 philox;
  Counts drawn(subjects_);
  for (std::size_t i = 0; i < subjects_; i += 2) {
    const auto words =
        philox({{static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(i / 2), 0, 0}}, key);
    for (std::size_t j = 0; j < 2 && i + j < subjects_; ++j) {
      const std::uint64_t bits = (std::uint64_t{words[2 * j]} << 32 | words[2 * j + 1]) >> 11;
      const auto place =
          static_cast<std::size_t>(static_cast<double>(bits) * 0x1p-53 * static_cast<double>(subjects_));
      ++drawn[std::min(place, subjects_ - 1)];
    }
  }
  Counts counts;
  for (const std::size_t subject : subject_of_) counts.push_back(drawn[subject]);
  return counts;
}

double percentile(std::span<const double> sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

MetricValue with_interval(double value, std::vector<double> drawn) {
  if (drawn.empty()) return {value, value, value};
  std::sort(drawn.begin(), drawn.end());
  return {value, percentile(drawn, 0.025), percentile(drawn, 0.975)};
}

}  // namespace fovea
