// Splits: given ones checked, computed ones stratified and grouped.
#include "data/split.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/rng.hpp"
#include "data_files.hpp"

namespace fovea {
namespace {

using testing::expect_error;

// Samples given as (subject, label); split and fold by the functions.
Dataset make_set(int classes, const std::vector<std::pair<std::string, int>>& samples) {
  Dataset set{"set.csv", {}, {}};
  for (int c = 0; c < classes; ++c) set.classes.push_back(fmt::format("class{}", c));
  for (const auto& [subject, label] : samples) {
    Sample sample;
    sample.id = fmt::format("s{}", set.samples.size());
    sample.subject = subject;
    sample.label = label;
    sample.row = static_cast<int>(set.samples.size()) + 2;
    set.samples.push_back(sample);
  }
  return set;
}

// Eyes of subjects, one to four a subject, whose labels mostly agree.
Dataset random_set(int subjects, int classes, std::uint64_t seed) {
  PhiloxStream random(seed, Purpose::synthetic);
  std::vector<std::pair<std::string, int>> samples;
  for (int s = 0; s < subjects; ++s) {
    const int label =
        random.uniform() < 0.5 ? 0 : static_cast<int>(random.below(static_cast<std::uint32_t>(classes)));
    const std::uint32_t eyes = 1 + random.below(4);
    for (std::uint32_t e = 0; e < eyes; ++e)
      samples.emplace_back(fmt::format("p{}", s),
                           random.uniform() < 0.9
                               ? label
                               : static_cast<int>(random.below(static_cast<std::uint32_t>(classes))));
  }
  return make_set(classes, samples);
}

// 100 samples of their own subjects, 50 / 26 / 24 as GAMMA has them.
Dataset gamma_like() {
  std::vector<std::pair<std::string, int>> samples;
  for (int i = 0; i < 100; ++i) samples.emplace_back(fmt::format("p{}", i), i < 50 ? 0 : i < 76 ? 1 : 2);
  return make_set(3, samples);
}

std::vector<int> counts(const Dataset& set, const std::vector<int>& folds, int fold) {
  std::vector<int> result(set.classes.size());
  for (std::size_t i = 0; i < folds.size(); ++i)
    if (folds[i] == fold) ++result[static_cast<std::size_t>(set.samples[i].label)];
  return result;
}

void expect_partition(const Dataset& set, const Split& split) {
  std::vector<int> all = split.train;
  all.insert(all.end(), split.test.begin(), split.test.end());
  if (!split.held_out_validates) all.insert(all.end(), split.validation.begin(), split.validation.end());
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), set.samples.size());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], static_cast<int>(i));
}

TEST(StratifiedFolds, AreEvenWithoutGroups) {
  const Dataset set = gamma_like();
  for (const std::uint64_t seed : {0, 1, 2}) {
    const auto folds = stratified_folds(set, 5, seed);
    for (int f = 0; f < 5; ++f) {
      const auto count = counts(set, folds, f);
      EXPECT_EQ(count[0], 10);
      EXPECT_NEAR(count[1], 26 / 5.0, 1);
      EXPECT_NEAR(count[2], 24 / 5.0, 1);
    }
  }
}

TEST(StratifiedFolds, KeepSubjectsTogetherAndSharesAlike) {
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    const Dataset set = random_set(150, 3, seed);
    const auto folds = stratified_folds(set, 5, seed);
    std::map<std::string, int> fold_of;
    for (std::size_t i = 0; i < folds.size(); ++i) {
      const auto [at, is_new] = fold_of.emplace(set.samples[i].subject, folds[i]);
      EXPECT_EQ(at->second, folds[i]) << set.samples[i].subject;
    }
    std::vector<int> total(3);
    for (const Sample& sample : set.samples) ++total[static_cast<std::size_t>(sample.label)];
    for (int f = 0; f < 5; ++f) {
      const auto count = counts(set, folds, f);
      for (std::size_t c = 0; c < 3; ++c)
        EXPECT_NEAR(count[c], total[c] / 5.0, 3) << "seed " << seed << " fold " << f;
    }
  }
}

TEST(StratifiedFolds, DependOnTheSeedAlone) {
  const Dataset set = random_set(80, 3, 9);
  EXPECT_EQ(stratified_folds(set, 4, 7), stratified_folds(set, 4, 7));
  EXPECT_NE(stratified_folds(set, 4, 7), stratified_folds(set, 4, 8));
}

TEST(StratifiedFolds, RefuseWhatCannotBeDone) {
  const Dataset set = make_set(2, {{"a", 0}, {"b", 0}, {"c", 0}, {"d", 1}, {"d", 1}, {"d", 1}});
  expect_error([&] { stratified_folds(set, 3, 0); }, {"set.csv", "'class1'", "1 subjects", "3 folds"});
  EXPECT_THROW(stratified_folds(gamma_like(), 1, 0), UsageError);
  EXPECT_THROW(make_split(gamma_like(), {.fold = 5}), UsageError);
}

TEST(MakeSplit, HoldsOutAComputedFold) {
  const Dataset set = random_set(60, 2, 5);
  std::set<int> tested;
  for (int fold = 0; fold < 4; ++fold) {
    const Split split = make_split(set, {.fold = fold, .folds = 4, .seed = 3});
    expect_partition(set, split);
    EXPECT_TRUE(split.held_out_validates);
    EXPECT_EQ(split.validation, split.test);
    EXPECT_EQ(split.origin, fmt::format("stratified fold {} of 4, seed 3", fold));
    tested.insert(split.test.begin(), split.test.end());
  }
  EXPECT_EQ(tested.size(), set.samples.size());
  EXPECT_EQ(make_split(set).test, make_split(set, {.fold = 0}).test);
}

// Each subject s<i> once with label i % 2; column by column.
Dataset with_columns(const std::vector<std::string>& splits, const std::vector<int>& folds) {
  std::vector<std::pair<std::string, int>> samples;
  const std::size_t n = std::max(splits.size(), folds.size());
  for (std::size_t i = 0; i < n; ++i) samples.emplace_back(fmt::format("p{}", i), static_cast<int>(i % 2));
  Dataset set = make_set(2, samples);
  for (std::size_t i = 0; i < splits.size(); ++i) set.samples[i].split = splits[i];
  for (std::size_t i = 0; i < folds.size(); ++i) set.samples[i].fold = folds[i];
  return set;
}

TEST(MakeSplit, TakesTheGivenSplit) {
  const Dataset three = with_columns({"train", "train", "val", "val", "test", "test"}, {});
  const Split split = make_split(three);
  expect_partition(three, split);
  EXPECT_EQ(split.validation, (std::vector<int>{2, 3}));
  EXPECT_EQ(split.test, (std::vector<int>{4, 5}));
  EXPECT_FALSE(split.held_out_validates);
  EXPECT_EQ(split.origin, "column split");
  for (const char* held : {"val", "test"}) {
    const Split two = make_split(with_columns({"train", "train", held, held}, {}));
    EXPECT_TRUE(two.held_out_validates);
    EXPECT_EQ(two.validation, (std::vector<int>{2, 3}));
    EXPECT_EQ(two.test, (std::vector<int>{2, 3}));
  }
}

TEST(MakeSplit, TakesTheGivenFoldWhereOneIsAskedFor) {
  const Dataset set = with_columns({"train", "train", "test", "test", "train", "train"}, {0, 0, 1, 1, 2, 2});
  EXPECT_EQ(make_split(set).origin, "column split");
  const Split split = make_split(set, {.fold = 2});
  EXPECT_EQ(split.test, (std::vector<int>{4, 5}));
  EXPECT_EQ(split.train, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(split.origin, "column fold, fold 2 of 3");
  expect_error([&] { make_split(set, {.fold = 3}); }, {"no fold 3", "0, 1, 2"});
  EXPECT_EQ(make_split(with_columns({}, {0, 0, 1, 1})).test, (std::vector<int>{0, 1}));
}

TEST(MakeSplit, RefusesBadColumns) {
  expect_error(
      [] {
        make_split(with_columns({"train", "train", "", "test"}, {}));
      },
      {"set.csv, row 4", "split is empty"});
  expect_error([] { make_split(with_columns({"train", "train"}, {})); }, {"no sample val or test"});
  expect_error([] { make_split(with_columns({"test", "test"}, {})); }, {"no sample train"});
  expect_error(
      [] {
        make_split(with_columns({"train", "test", "test", "test", "train", "test"}, {}));
      },
      {"train part", "'class1'"});
  expect_error(
      [] {
        make_split(with_columns({"train", "train", "test", "train"}, {}));
      },
      {"held-out part", "'class1'", "column split"});
  expect_error(
      [] {
        make_split(with_columns({}, {0, 0, -1, 1}), {.fold = 0});
      },
      {"set.csv, row 4", "fold is empty"});
  expect_error([] { make_split(with_columns({}, {0, 1, 0, 0}), {.fold = 1}); }, {"'class0'", "fold 1 of 2"});

  Dataset crossing = with_columns({"train", "train", "test", "test"}, {0, 0, 1, 1});
  crossing.samples[3].subject = crossing.samples[0].subject;
  expect_error([&] { make_split(crossing); }, {"row 5", "'p0'", "test", "train"});
  expect_error([&] { make_split(crossing, {.fold = 0}); }, {"row 5", "'p0'", "fold 1", "fold 0"});
}

TEST(MakeSplit, RefusesSetsThatCannotBeLearned) {
  expect_error([] { make_split(make_set(1, {{"a", 0}, {"b", 0}})); }, {"1 class", "two"});
  expect_error([] { make_split(make_set(2, {{"a", 0}, {"b", -1}})); }, {"row 3", "no label"});
}

TEST(MakeSplit, RealSets) {
  const std::string root = std::string(FOVEA_SOURCE_DIR) + "/../shared/data/";
  if (!std::filesystem::exists(root + "grape")) GTEST_SKIP() << "no ../shared/data beside the source";
  const Dataset gamma = open_dataset(root + "gamma_fundus");
  EXPECT_EQ(make_split(gamma, {.fold = 0}).test.size(), 20u);
  const Dataset grape = open_dataset(root + "grape", {.label_column = "prog_plr2"});
  for (int fold = 0; fold < 5; ++fold) expect_partition(grape, make_split(grape, {.fold = fold}));
  Dataset unsplit = grape;
  for (Sample& sample : unsplit.samples) sample.split.clear(), sample.fold = -1;
  for (int fold = 0; fold < 5; ++fold) {
    const Split split = make_split(unsplit, {.fold = fold});
    expect_partition(unsplit, split);
    int positive = 0;
    for (const int i : split.test) positive += unsplit.samples[static_cast<std::size_t>(i)].label;
    EXPECT_NEAR(positive, 84 / 5.0, 4);
    EXPECT_NEAR(static_cast<double>(split.test.size()), 631 / 5.0, 12);
  }
}

}  // namespace
}  // namespace fovea
