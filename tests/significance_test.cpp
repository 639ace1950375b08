// Paired differences: exact values worked by hand or with SciPy, and what the tests must not do: see a difference where
// there is none, or miss a plain one.
#include "eval/significance.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "eval/scores.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using List = std::vector<Prediction>;

Prediction sample(int i, int label, bool right, std::string subject = "") {
  const int predicted = right ? label : 1 - label;
  Prediction row{fmt::format("s{}", i),
                 subject.empty() ? fmt::format("s{}", i) : std::move(subject),
                 label,
                 predicted,
                 {}};
  row.probabilities = predicted == 0 ? std::vector{0.7, 0.3} : std::vector{0.3, 0.7};
  return row;
}

const std::vector<std::string> classes{"no", "yes"};

// A list whose first `right` samples are right.
List first_right(int n, int right) {
  List rows;
  for (int i = 0; i < n; ++i) rows.push_back(sample(i, i % 2, i < right));
  return rows;
}

TEST(Significance, McNemarIsTheBinomialTest) {  // scipy.stats.binomtest(2, 12).pvalue, ...
  EXPECT_NEAR(mcnemar_exact(10, 2), 0.03857421875, 1e-12);
  EXPECT_NEAR(mcnemar_exact(2, 10), 0.03857421875, 1e-12);
  EXPECT_NEAR(mcnemar_exact(0, 5), 0.0625, 1e-12);
  EXPECT_NEAR(mcnemar_exact(1200, 1300), 0.047681865221, 1e-9);
  EXPECT_EQ(mcnemar_exact(7, 7), 1);
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
}

TEST(Significance, HolmNeverFalls) {
  const std::vector<double> p{0.01, 0.04, 0.03, 0.5};
  const std::vector<double> wanted{0.04, 0.09, 0.09, 0.5};
  const std::vector<double> corrected = holm(p);
  for (std::size_t i = 0; i < p.size(); ++i) EXPECT_DOUBLE_EQ(corrected[i], wanted[i]) << i;
  EXPECT_TRUE(holm({}).empty());
}

TEST(Significance, CountsAndDifferenceOfTwoRows) {
  const std::vector<List> a{first_right(40, 36)}, b{first_right(40, 24)};
  const PairedDifference d = paired_difference(a, b, classes, {.resamples = 500});
  EXPECT_EQ(d.only_this, 12);
  EXPECT_EQ(d.only_reference, 0);
  EXPECT_EQ(d.test, "McNemar");
  EXPECT_EQ(d.p, mcnemar_exact(12, 0));
  EXPECT_DOUBLE_EQ(d.accuracy.value, 0.3);
  EXPECT_GT(d.accuracy.low, 0.1);
  EXPECT_LT(d.accuracy.high, 0.5);
  EXPECT_TRUE(d.significant());
}

TEST(Significance, ARowDoesNotDifferFromItself) {
  const std::vector<List> a{first_right(30, 20)};
  const PairedDifference d = paired_difference(a, a, classes, {.resamples = 200});
  EXPECT_EQ(d.p, 1);
  EXPECT_EQ(d.accuracy.low, 0);
  EXPECT_EQ(d.accuracy.high, 0);
  EXPECT_FALSE(d.significant());
}

TEST(Significance, OrderOfSamplesDoesNotMatter) {
  std::vector<List> a{first_right(40, 30)}, b{first_right(40, 20)};
  const PairedDifference before = paired_difference(a, b, classes, {.resamples = 100});
  std::shuffle(a[0].begin(), a[0].end(), std::mt19937(3));
  const PairedDifference after = paired_difference(a, b, classes, {.resamples = 100});
  EXPECT_EQ(before.accuracy.low, after.accuracy.low);
  EXPECT_EQ(before.auroc.high, after.auroc.high);
}

// Ten subjects of eight samples each, all of a subject right or wrong together: as samples the difference would look
// certain, as subjects it is two against none.
TEST(Significance, SamplesOfASubjectAreNotIndependent) {
  List a, b;
  for (int i = 0; i < 80; ++i) {
    const std::string subject = fmt::format("p{}", i / 8);
    a.push_back(sample(i, i % 2, i < 40, subject));
    b.push_back(sample(i, i % 2, i < 24, subject));
  }
  const std::vector<List> first{a}, second{b};
  const PairedDifference d = paired_difference(first, second, classes, {.resamples = 2000});
  EXPECT_EQ(d.test, "paired bootstrap");
  EXPECT_GT(d.p, 0.05);
  EXPECT_LT(mcnemar_exact(d.only_this, d.only_reference), 1e-4);
  const Metrics by_subject = compute_metrics(a, classes, {});
  List apart = a;
  for (Prediction& row : apart) row.subject = row.id;
  const Metrics by_sample = compute_metrics(apart, classes, {});
  EXPECT_GT(by_subject.accuracy.high - by_subject.accuracy.low,
            2 * (by_sample.accuracy.high - by_sample.accuracy.low));
}

TEST(Significance, SeedsAreAveraged) {
  const std::vector<List> seeds{first_right(40, 30), first_right(40, 20)};
  const Metrics metrics = compute_seed_metrics(seeds, classes, {.resamples = 300});
  EXPECT_DOUBLE_EQ(metrics.accuracy.value, 0.625);
  EXPECT_EQ(metrics.n, 40);
  EXPECT_EQ(metrics.confusion[0][0] + metrics.confusion[1][1], 50);
  const PairedDifference d =
      paired_difference(seeds, std::vector<List>{first_right(40, 24)}, classes, {.resamples = 300});
  EXPECT_EQ(d.test, "paired bootstrap");
  EXPECT_NEAR(d.accuracy.value, 0.025, 1e-12);
}

// Of 200 comparisons of two equal coins at 5 %, McNemar's exact test may claim about 10 at most; it is conservative.
TEST(Significance, ClaimsLittleWhereThereIsNothing) {
  std::mt19937 random(5);
  int claims = 0;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<List> a(1), b(1);
    for (int i = 0; i < 60; ++i) {
      a[0].push_back(sample(i, i % 2, random() % 2 == 0));
      b[0].push_back(sample(i, i % 2, random() % 2 == 0));
    }
    claims += paired_difference(a, b, classes, {.resamples = 1}).p < 0.05;
  }
  EXPECT_LE(claims, 16);
}

TEST(Significance, UnlikeSamplesAreRefused) {
  const List a = first_right(10, 5);
  List shorter = first_right(9, 5), renamed = a, relabelled = a, twice = a;
  renamed[3].id = "other";
  relabelled[2].label = 1 - relabelled[2].label;
  twice[1].id = "s0";
  for (const List& other : {shorter, renamed, relabelled, twice}) {
    EXPECT_THROW(paired_difference(std::vector<List>{other}, std::vector<List>{a}, classes), Error);
  }
}

}  // namespace
}  // namespace fovea
