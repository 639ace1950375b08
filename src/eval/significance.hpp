// Whether two models differ on the same samples by more than chance.
//
// McNemar's exact test (Edwards' and mid-p forms are not used): of the samples that one model has right and the other
// wrong, b and c, p = min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2). It takes samples as independent.
// Paired bootstrap: subjects are drawn with replacement, the difference of a metric is taken on each draw; the interval
// is the percentile one, p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (1 + B)).
// Holm (1979): p-values in rising order are multiplied by m, m - 1, ..., 1, never falling; controls the chance of any
// false claim among m, whatever their dependence.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/metrics.hpp"
#include "eval/predictions.hpp"

namespace fovea {

struct PairedDifference {
  MetricValue accuracy, f1, kappa, auroc;          // this row's minus the reference's
  std::int64_t only_this = 0, only_reference = 0;  // samples that only one of them has right, over all seeds
  std::string test;                                // "McNemar" | "paired bootstrap"
  double p = 1;                                    // of the difference in accuracy
  double p_corrected = 1;                          // by Holm, for the number of rows that are compared
  bool significant() const { return p_corrected < 0.05; }
};

/// 2 P(X <= min(b, c)) for X ~ Binomial(b + c, 1/2), at most 1; 1 where b + c = 0.
double mcnemar_exact(std::int64_t b, std::int64_t c);

/// "0.042", "< 0.001"
std::string p_text(double p);

/// The p-values corrected, in their order.
std::vector<double> holm(std::span<const double> p);

/// Of two rows' predictions, one list a seed, samples matched by id. McNemar where each has one seed and each subject
/// one sample, else the paired bootstrap. Error where the two are not of the same samples and labels.
PairedDifference paired_difference(std::span<const std::vector<Prediction>> row,
                                   std::span<const std::vector<Prediction>> reference,
                                   const std::vector<std::string>& classes,
                                   const BootstrapOptions& options = {});

}  // namespace fovea
