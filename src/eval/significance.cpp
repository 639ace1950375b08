// See significance.hpp.
#include "eval/significance.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "eval/scores.hpp"

namespace fovea {
namespace {

// Samples that `a` has right and `b` wrong, over all seeds; with unlike numbers of seeds those that both have.
std::int64_t only_first(const SeedEvaluator& a, const SeedEvaluator& b) {
  std::int64_t count = 0;
  const std::size_t seeds = std::min(a.lists().size(), b.lists().size());
  for (std::size_t s = 0; s < seeds; ++s) {
    for (std::size_t i = 0; i < a.samples().size(); ++i) {
      const Prediction &first = a.lists()[s][i], &second = b.lists()[s][i];
      count += first.predicted == first.label && second.predicted != second.label;
    }
  }
  return count;
}

Scores minus(const Scores& a, const Scores& b) {
  Scores difference{};
  for (std::size_t m = 0; m < metric_count; ++m) difference[m] = a[m] - b[m];
  return difference;
}

// Two-sided: how rarely a resample has the difference on the other side of zero.
double bootstrap_p(std::span<const double> drawn) {
  const auto low = std::count_if(drawn.begin(), drawn.end(), [](double d) { return d <= 0; });
  const auto high = std::count_if(drawn.begin(), drawn.end(), [](double d) { return d >= 0; });
  return std::min(1.0,
                  2 * static_cast<double>(1 + std::min(low, high)) / static_cast<double>(1 + drawn.size()));
}

struct Member {
  std::size_t metric;  // its place among named_metrics()
  MetricValue PairedDifference::*member;
};

std::size_t place_of(std::string_view name) {
  const auto metrics = named_metrics();
  const auto it =
      std::find_if(metrics.begin(), metrics.end(), [&](const NamedMetric& m) { return m.name == name; });
  return static_cast<std::size_t>(it - metrics.begin());
}

}  // namespace

double mcnemar_exact(std::int64_t b, std::int64_t c) {
  const std::int64_t n = b + c, least = std::min(b, c);
  double tail = 0;  // of terms from logarithms, so that no binomial coefficient overflows
  for (std::int64_t k = 0; k <= least; ++k) {
    const double log_choose = std::lgamma(static_cast<double>(n + 1)) -
                              std::lgamma(static_cast<double>(k + 1)) -
                              std::lgamma(static_cast<double>(n - k + 1));
    tail += std::exp(log_choose - static_cast<double>(n) * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

std::string p_text(double p) { return p < 0.001 ? "< 0.001" : fmt::format("{:.3f}", p); }

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> corrected(p.size());
  double highest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    highest = std::max(highest, static_cast<double>(p.size() - rank) * p[order[rank]]);
    corrected[order[rank]] = std::min(1.0, highest);
  }
  return corrected;
}

PairedDifference paired_difference(std::span<const std::vector<Prediction>> row,
                                   std::span<const std::vector<Prediction>> reference,
                                   const std::vector<std::string>& classes, const BootstrapOptions& options) {
  const SeedEvaluator second(reference, classes.size());
  const SeedEvaluator first(row, classes.size(), second.samples());
  const SubjectDraws draws(second.samples(), options.seed);
  const std::array<Member, 4> members{{{place_of("accuracy"), &PairedDifference::accuracy},
                                       {place_of("f1"), &PairedDifference::f1},
                                       {place_of("kappa"), &PairedDifference::kappa},
                                       {place_of("auroc"), &PairedDifference::auroc}}};
  std::array<std::vector<double>, 4> drawn;
  for (int b = 0; b < options.resamples; ++b) {
    const Counts counts = draws.draw(b);
    const Scores difference = minus(first.scores(counts), second.scores(counts));
    for (std::size_t m = 0; m < members.size(); ++m) {
      const double d = difference[members[m].metric];
      if (!std::isnan(d)) drawn[m].push_back(d);
    }
  }
  const Counts once(second.samples().size(), 1);
  const Scores difference = minus(first.scores(once), second.scores(once));
  PairedDifference result;
  result.only_this = only_first(first, second);
  result.only_reference = only_first(second, first);
  if (row.size() == 1 && reference.size() == 1 && draws.one_sample_each()) {
    result.test = "McNemar";
    result.p = mcnemar_exact(result.only_this, result.only_reference);
  } else {
    result.test = "paired bootstrap";
    result.p = bootstrap_p(drawn[0]);
  }
  result.p_corrected = result.p;
  for (std::size_t m = 0; m < members.size(); ++m) {
    const double d = difference[members[m].metric];
    result.*members[m].member = with_interval(std::isnan(d) ? 0 : d, std::move(drawn[m]));
  }
  return result;
}

}  // namespace fovea
