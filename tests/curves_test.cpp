// ROC curves and calibration against scikit-learn's figures of the same samples, and where they are not defined.
#include "eval/curves.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "eval/metrics.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

Prediction sample(int label, std::vector<double> p) {
  return {.id = "s", .subject = "", .label = label, .predicted = most_likely(p), .probabilities = p};
}

/// Probabilities in tenths, so that many tie, of positives and negatives alike.
std::vector<Prediction> tied_samples() {
  return {sample(1, {0.0, 0.8, 0.2}), sample(1, {0.1, 0.7, 0.2}), sample(2, {0.0, 0.1, 0.9}),
          sample(0, {0.5, 0.1, 0.4}), sample(0, {0.7, 0.1, 0.2}), sample(2, {0.4, 0.0, 0.6}),
          sample(2, {0.4, 0.0, 0.6}), sample(2, {0.1, 0.7, 0.2}), sample(1, {0.3, 0.5, 0.2}),
          sample(0, {0.7, 0.0, 0.3}), sample(2, {0.0, 1.0, 0.0}), sample(1, {0.3, 0.7, 0.0}),
          sample(1, {0.0, 0.9, 0.1}), sample(2, {0.2, 0.3, 0.5})};
}

void expect_points(const RocCurve& curve, const std::vector<RocPoint>& wanted) {
  ASSERT_EQ(curve.points.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(curve.points[i].false_positive_rate, wanted[i].false_positive_rate, 1e-15) << i;
    EXPECT_NEAR(curve.points[i].true_positive_rate, wanted[i].true_positive_rate, 1e-15) << i;
  }
}

TEST(Roc, AsScikitLearn) {
  const auto samples = tied_samples();
  expect_points(roc_curve(samples, 0), {{0, 0}, {0, 1}, {1, 1}});
  EXPECT_EQ(roc_curve(samples, 0).auc, 1);
  expect_points(roc_curve(samples, 1),
                {{0, 0}, {1 / 9., 0}, {1 / 9., 0.4}, {2 / 9., 0.8}, {2 / 9., 1}, {1, 1}});
  EXPECT_NEAR(roc_curve(samples, 1).auc, 0.8444444444444446, 1e-14);
  expect_points(roc_curve(samples, 2),
                {{0, 0}, {0, 2 / 3.}, {0.25, 2 / 3.}, {0.75, 5 / 6.}, {0.875, 5 / 6.}, {1, 1}});
  EXPECT_NEAR(roc_curve(samples, 2).auc, 0.7604166666666666, 1e-14);
}

TEST(Roc, TheMeanCurveHasTheMeanArea) {
  const auto samples = tied_samples();
  const std::vector<RocCurve> curves{roc_curve(samples, 0), roc_curve(samples, 1), roc_curve(samples, 2)};
  const RocCurve mean = mean_roc(curves);
  EXPECT_NEAR(mean.auc, (1 + 0.8444444444444446 + 0.7604166666666666) / 3, 1e-14);
  EXPECT_NEAR(mean.auc, compute_metrics(samples, {"a", "b", "c"}, {.resamples = 0}).auroc.value, 1e-14);
  EXPECT_EQ(mean.points.front().true_positive_rate, 0);
  EXPECT_EQ(mean.points.back().true_positive_rate, 1);
  EXPECT_EQ(mean.points.back().false_positive_rate, 1);
  for (std::size_t i = 1; i < mean.points.size(); ++i) {
    EXPECT_GE(mean.points[i].false_positive_rate, mean.points[i - 1].false_positive_rate);
    EXPECT_GE(mean.points[i].true_positive_rate, mean.points[i - 1].true_positive_rate);
  }
  // At 1/9 the second curve rises from 0 to 0.4 while the third passes through 2/3.
  const auto at = std::find_if(mean.points.begin(), mean.points.end(),
                               [](const RocPoint& p) { return p.false_positive_rate == 1 / 9.; });
  ASSERT_NE(at, mean.points.end());
  EXPECT_NEAR(at[0].true_positive_rate, (1 + 0 + 2 / 3.) / 3, 1e-15);
  EXPECT_NEAR(at[1].true_positive_rate, (1 + 0.4 + 2 / 3.) / 3, 1e-15);
}

TEST(Roc, AllTiedIsTheDiagonal) {
  const std::vector<Prediction> samples{sample(0, {0.5, 0.5}), sample(1, {0.5, 0.5}), sample(1, {0.5, 0.5})};
  expect_points(roc_curve(samples, 1), {{0, 0}, {1, 1}});
  EXPECT_EQ(roc_curve(samples, 1).auc, 0.5);
}

TEST(Roc, NotDefinedWithoutBothKinds) {
  const std::vector<Prediction> one_class{sample(0, {0.9, 0.1}), sample(0, {0.2, 0.8})};
  for (const std::size_t k : {0u, 1u}) {
    EXPECT_TRUE(roc_curve(one_class, k).points.empty());
    EXPECT_TRUE(std::isnan(roc_curve(one_class, k).auc));
  }
  EXPECT_TRUE(roc_curve({}, 0).points.empty());
  const std::vector<RocCurve> none{roc_curve(one_class, 0)};
  EXPECT_TRUE(mean_roc(none).points.empty());
  EXPECT_TRUE(std::isnan(mean_roc(none).auc));
  const std::vector<RocCurve> with_none{roc_curve(one_class, 0), roc_curve(tied_samples(), 2)};
  EXPECT_NEAR(mean_roc(with_none).auc, 0.7604166666666666, 1e-14) << "what is not defined is left out";
}

TEST(Calibration, AsScikitLearn) {
  const Calibration result = calibration(tied_samples(), 5);
  ASSERT_EQ(result.bins.size(), 5u);
  const std::vector<std::int64_t> counts{0, 0, 5, 6, 3};
  for (std::size_t b = 0; b < 5; ++b) EXPECT_EQ(result.bins[b].count, counts[b]) << b;
  EXPECT_NEAR(result.bins[2].confidence, 0.54, 1e-15) << "0.6 is the upper end of its bin";
  EXPECT_NEAR(result.bins[2].accuracy, 1, 1e-15);
  EXPECT_NEAR(result.bins[3].confidence, 4.3 / 6, 1e-15);
  EXPECT_NEAR(result.bins[3].accuracy, 5 / 6., 1e-15);
  EXPECT_NEAR(result.bins[4].confidence, 2.8 / 3, 1e-15);
  EXPECT_NEAR(result.bins[4].accuracy, 2 / 3., 1e-15);
  EXPECT_TRUE(std::isnan(result.bins[0].accuracy));
  EXPECT_NEAR(result.ece, (5 * 0.46 + 6 * (5 / 6. - 4.3 / 6) + 3 * (2.8 / 3 - 2 / 3.)) / 14, 1e-15);
  EXPECT_NEAR(result.brier, 0.4085714285714286, 1e-14);
  // statsmodels' proportion_confint(5, 6, method="wilson")
  EXPECT_NEAR(result.bins[3].accuracy_low, 0.43649, 1e-5);
  EXPECT_NEAR(result.bins[3].accuracy_high, 0.96995, 1e-5);
}

TEST(Calibration, EndsOfTheScale) {
  const Calibration sure = calibration(std::vector<Prediction>{sample(0, {1, 0}), sample(0, {0, 1})}, 10);
  EXPECT_EQ(sure.bins.back().count, 2);
  EXPECT_EQ(sure.ece, 0.5);
  EXPECT_EQ(sure.brier, 1) << "of a right one 0, of a wrong one 2";
  Prediction zero = sample(0, {0, 1});
  zero.predicted = 0;
  EXPECT_EQ(calibration(std::vector<Prediction>{zero}, 4).bins.front().count, 1) << "0 is in the first bin";
  EXPECT_EQ(calibration(tied_samples(), 1).bins.front().count, 14);
}

TEST(Calibration, WhatIsRefused) {
  EXPECT_THROW(calibration({}), Error);
  EXPECT_THROW(calibration(tied_samples(), 0), Error);
  for (const auto& spoil :
       {+[](Prediction& p) { p.label = -1; }, +[](Prediction& p) { p.predicted = 3; },
        +[](Prediction& p) { p.probabilities[1] = std::numeric_limits<double>::quiet_NaN(); }}) {
    auto samples = tied_samples();
    samples[4].id = "bad one";
    spoil(samples[4]);
    try {
      calibration(samples);
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'bad one'"), std::string::npos) << error.what();
    }
  }
  auto samples = tied_samples();
  samples[0].label = -1;
  EXPECT_THROW(roc_curve(samples, 0), Error);
  EXPECT_THROW(roc_curve(tied_samples(), 3), Error);
}

}  // namespace
}  // namespace fovea
