// The synthetic set: what is promised about its files, its balance and the cause behind its grades.
#include "data/synthetic.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "data/dataset.hpp"
#include "data/image.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

class Synthetic : public testing::Test {
 protected:
  void SetUp() override {
    static int made = 0;
    folder_ = fs::temp_directory_path() / fmt::format("fovea-synthetic-{}-{}", getpid(), made++);
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "") const { return (folder_ / name).string(); }

  Dataset write(const SyntheticOptions& options) const {
    write_synthetic(path(), options);
    return open_dataset(path());
  }

  fs::path folder_;
};

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path().lexically_relative(folder).string()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return files;
}

TEST_F(Synthetic, HoldsWhatWasAskedFor) {
  const Dataset set = write({.count = 31, .image_size = 32, .seed = 5, .missing = 0, .oct_slices = 4});
  ASSERT_EQ(set.samples.size(), 31U);
  EXPECT_EQ(set.classes.size(), 3U);
  std::map<std::string, std::set<Eye>> eyes;
  for (const Sample& sample : set.samples) {
    EXPECT_TRUE(eyes[sample.subject].insert(sample.eye).second);
    EXPECT_NE(sample.eye, Eye::unknown);
    ASSERT_EQ(sample.oct.size(), 4U);
    ASSERT_EQ(sample.field.size(), 54U);
    const Image fundus = read_image(sample.fundus), slice = read_image(sample.oct.front(), 1);
    EXPECT_EQ(fundus.width, 32);
    EXPECT_EQ(fundus.height, 32);
    EXPECT_EQ(slice.width, 32);
    EXPECT_EQ(slice.height, 32);
  }
  EXPECT_EQ(eyes.size(), 16U);
}

TEST_F(Synthetic, IsBalancedBySubject) {
  const Dataset set = write({.count = 90, .image_size = 32, .seed = 3, .missing = 0, .oct_slices = 1});
  std::array<int, 3> grades{};
  std::map<std::string, std::pair<int, int>> of_subject;
  std::map<std::pair<int, int>, int> grade_and_fold;
  for (const Sample& sample : set.samples) {
    ++grades.at(sample.label);
    ++grade_and_fold[{sample.label, sample.fold}];
    const auto [at, is_new] = of_subject.emplace(sample.subject, std::pair(sample.label, sample.fold));
    EXPECT_EQ(at->second, std::pair(sample.label, sample.fold));
  }
  EXPECT_EQ(grades, (std::array{30, 30, 30}));
  ASSERT_EQ(grade_and_fold.size(), 15U);
  for (const auto& [key, count] : grade_and_fold) EXPECT_EQ(count, 6);
}

TEST_F(Synthetic, SmallSetsHaveEveryGradeInEveryFold) {
  for (const int count : {6, 12, 18, 24}) {
    const Dataset set = write({.count = count, .image_size = 32, .seed = 2, .missing = 0, .oct_slices = 1});
    std::map<int, std::set<int>> folds;
    for (const Sample& sample : set.samples) folds[sample.fold].insert(sample.label);
    EXPECT_EQ(folds.size(), static_cast<std::size_t>(std::max(1, count / 6)));
    for (const auto& [fold, labels] : folds) EXPECT_EQ(labels.size(), 3U) << count << " eyes, fold " << fold;
  }
}

TEST_F(Synthetic, IsTheSameBytesForTheSameSeed) {
  const SyntheticOptions options{.count = 4, .image_size = 48, .seed = 11, .missing = 0.5, .oct_slices = 2};
  write_synthetic(path(), options);
  const auto first = contents(folder_);
  write_synthetic(path(), options);  // in place of the earlier one
  EXPECT_TRUE(contents(folder_) == first);
  auto other = options;
  other.seed = std::uint64_t{1} << 40 | 11;
  write_synthetic(path(), other);
  const auto second = contents(folder_);
  EXPECT_NE(first.at("labels.csv"), second.at("labels.csv"));
  EXPECT_NE(first.at("fundus/0001_OD.jpg"), second.at("fundus/0001_OD.jpg"));
}

TEST_F(Synthetic, AnEyeDoesNotDependOnTheOthers) {
  const Dataset few = write({.count = 8, .image_size = 32, .seed = 4, .missing = 0, .oct_slices = 1});
  const auto photograph = contents(folder_).at("fundus/0002_OS.jpg");
  write_synthetic(path(), {.count = 8, .image_size = 32, .seed = 4, .missing = 0, .oct_slices = 3});
  EXPECT_TRUE(contents(folder_).at("fundus/0002_OS.jpg") == photograph);
  EXPECT_EQ(few.samples[3].id, "0002_OS");
}

// The disc is brighter than the ring around it, on either side.
TEST_F(Synthetic, MarksTheDiscWhereItIs) {
  const Dataset set = write({.count = 12, .image_size = 64, .seed = 6, .missing = 0, .oct_slices = 1});
  for (const Sample& sample : set.samples) {
    const Image fundus = read_image(sample.fundus);
    const Box& disc = sample.disc;
    ASSERT_GT(disc.width, 0) << sample.id;
    const double x = disc.x + disc.width / 2.0, y = disc.y + disc.height / 2.0;
    double inside = 0, left = 0, right = 0;
    int pixels = 0, pixels_left = 0, pixels_right = 0;
    for (int row = 0; row < fundus.height; ++row) {
      for (int column = 0; column < fundus.width; ++column) {
        const double dx = (column + 0.5 - x) / disc.width * 2, dy = (row + 0.5 - y) / disc.height * 2;
        const double away = std::hypot(dx, dy);
        const int green = fundus.at(row, column)[1];
        if (away < 1) inside += green, ++pixels;
        if (away > 1.15 && away < 1.5)
          dx < 0 ? (left += green, ++pixels_left) : (right += green, ++pixels_right);
      }
    }
    EXPECT_GT(inside / pixels, 1.15 * left / pixels_left) << sample.id;
    EXPECT_GT(inside / pixels, 1.15 * right / pixels_right) << sample.id;
  }
}

TEST_F(Synthetic, LeavesOutModalitiesAsOftenAsAsked) {
  struct Case {
    double missing;
    int least, most;
  };
  for (const Case& c : {Case{0, 0, 0}, {0.4, 20, 60}, {1, 100, 100}}) {
    const Dataset set =
        write({.count = 100, .image_size = 32, .seed = 9, .missing = c.missing, .oct_slices = 1});
    int no_oct = 0, no_field = 0;
    for (const Sample& sample : set.samples) {
      EXPECT_TRUE(sample.has(Modality::fundus));
      EXPECT_TRUE(sample.has(Modality::oct) || sample.has(Modality::vf));
      no_oct += !sample.has(Modality::oct);
      no_field += !sample.has(Modality::vf);
    }
    EXPECT_GE(no_oct + no_field, c.least);
    EXPECT_LE(no_oct + no_field, c.most);
    if (c.missing > 0) {
      EXPECT_GT(no_oct, 0);
      EXPECT_GT(no_field, 0);
    }
  }
}

// One number read from each modality, as a person would: how large the pale cup is, how thick the bright
// layer, how much the field sees.
struct Signs {
  double cup, layer, field;
};

Signs signs_of(const Sample& sample) {
  const Image fundus = read_image(sample.fundus);
  double cup = 0;
  for (int i = 0; i < fundus.height * fundus.width; ++i) {
    // The floor of the cup is the only thing with much blue in it.
    cup += fundus.pixels[3 * i + 2] > 135;
  }
  const Image slice = read_image(sample.oct.front(), 1);
  double layer = 0;
  // Vitreous is dark and the layer bright: count from the first bright row on, down to where it dims.
  for (int x = 0; x < slice.width; ++x) {
    double run = 0;
    bool inside = false;
    for (int y = 1; y + 1 < slice.height; ++y) {
      const int level = (*slice.at(y - 1, x) + *slice.at(y, x) + *slice.at(y + 1, x)) / 3;
      if (level > 120) inside = true, ++run;
      if (inside && level < 110) break;
    }
    layer += run;
  }
  double field = 0;
  for (const float v : sample.field) field += std::isnan(v) ? 0 : v;
  return {cup / (fundus.height * fundus.width), layer / slice.width, field / 52};
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sa += a[i], sb += b[i], saa += a[i] * a[i], sbb += b[i] * b[i], sab += a[i] * b[i];
  }
  return (sab - sa * sb / n) / std::sqrt((saa - sa * sa / n) * (sbb - sb * sb / n));
}

TEST_F(Synthetic, EachModalityTellsTheGradeAndBothEyesAlike) {
  const Dataset set = write({.count = 60, .image_size = 64, .seed = 21, .missing = 0, .oct_slices = 1});
  for (const Eye eye : {Eye::right, Eye::left}) {
    std::vector<double> grade, cup, layer, field;
    for (const Sample& sample : set.samples) {
      if (sample.eye != eye) continue;
      const Signs signs = signs_of(sample);
      grade.push_back(sample.label);
      cup.push_back(signs.cup);
      layer.push_back(signs.layer);
      field.push_back(signs.field);
    }
    EXPECT_GT(correlation(grade, cup), 0.75);
    EXPECT_LT(correlation(grade, layer), -0.65);
    EXPECT_LT(correlation(grade, field), -0.75);
    // Not the same noise in all: that would leave nothing to combine.
    EXPECT_LT(correlation(cup, field), -0.5);
    EXPECT_GT(correlation(cup, field), -0.97);
  }
}

TEST_F(Synthetic, BlindSpotIsEmptyAndFieldsAreRightEyes) {
  const Dataset set = write({.count = 6, .image_size = 32, .seed = 1, .missing = 0, .oct_slices = 1});
  for (const Sample& sample : set.samples) {
    for (int i = 0; i < 54; ++i)
      EXPECT_EQ(std::isnan(sample.field[i]), i == 25 || i == 34) << sample.id << " " << i;
  }
}

TEST_F(Synthetic, NeverTouchesOtherPeoplesFiles) {
  const SyntheticOptions options{.count = 2, .image_size = 32, .seed = 1, .missing = 0, .oct_slices = 1};
  fs::create_directories(folder_);
  std::ofstream(path("thesis.txt")) << "mine";
  EXPECT_THROW(write_synthetic(path(), options), Error);
  EXPECT_EQ(contents(folder_).size(), 1U);

  fs::remove(path("thesis.txt"));
  write_synthetic(path(), options);
  for (const std::string foreign : {"fundus/mine.jpg", "notes.md", "oct/0001_OD/1_image.jpg"}) {
    std::ofstream(path(foreign)) << "mine";
    const auto before = contents(folder_);
    EXPECT_THROW(write_synthetic(path(), options), Error) << foreign;
    EXPECT_TRUE(contents(folder_) == before) << foreign;
    fs::remove(path(foreign));
  }
  write_synthetic(path(), options);
  EXPECT_EQ(open_dataset(path()).samples.size(), 2U);
}

TEST_F(Synthetic, RefusesWhatItCannotDo) {
  for (const SyntheticOptions& bad : {SyntheticOptions{.count = 0},
                                      {.count = -3},
                                      {.image_size = 31},
                                      {.image_size = 5000},
                                      {.missing = -0.1},
                                      {.missing = 1.5},
                                      {.missing = std::nan("")},
                                      {.oct_slices = 0},
                                      {.oct_slices = 300}}) {
    EXPECT_THROW(write_synthetic(path(), bad), UsageError);
  }
  EXPECT_FALSE(fs::exists(folder_));
  std::ofstream(folder_) << "a file";
  EXPECT_THROW(write_synthetic(folder_.string(), {.count = 2}), Error);
  EXPECT_EQ(fs::file_size(folder_), 6U);
}

}  // namespace
}  // namespace fovea
