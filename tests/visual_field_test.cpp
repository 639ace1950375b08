// Visual fields: headers, cells, orientation and the picture.
#include "data/visual_field.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::string> names(const std::string& prefix, int first, int last) {
  std::vector<std::string> result;
  for (int i = first; i <= last; ++i) result.push_back(fmt::format("{}{}", prefix, i));
  return result;
}

std::vector<int> numbers(int first, int count) {
  std::vector<int> result(count);
  std::iota(result.begin(), result.end(), first);
  return result;
}

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(FieldColumns, AreFoundUnderEveryName) {
  struct Case {
    std::string prefix;
    int first, last;
  };
  for (const Case& c : {Case{"l", 1, 54},
                        {"s", 1, 54},
                        {"vf.", 1, 54},
                        {"vf", 1, 54},
                        {"l", 1, 52},
                        {"vf.", 1, 52},
                        {"vf", 0, 60}}) {
    auto header = names(c.prefix, c.first, c.last);
    header.insert(header.begin(), {"id", "td1", "vfi", "l"});
    EXPECT_EQ(find_field_columns(header), numbers(4, c.last - c.first + 1)) << c.prefix << c.last;
  }
}

TEST(FieldColumns, ComeInGridOrderWhateverTheHeadersOrder) {
  auto header = names("l", 1, 54);
  std::swap(header[0], header[53]);
  const auto columns = find_field_columns(header);
  ASSERT_EQ(columns.size(), 54U);
  EXPECT_EQ(columns.front(), 53);
  EXPECT_EQ(columns.back(), 0);
}

TEST(FieldColumns, OtherColumnsAreNoField) {
  EXPECT_TRUE(find_field_columns({}).empty());
  EXPECT_TRUE(find_field_columns({"id", "label", "l1", "s1", "s2", "vf"}).empty());
  EXPECT_TRUE(find_field_columns(names("td", 1, 54)).empty());
  EXPECT_TRUE(find_field_columns(names("l0", 1, 54)).empty());
}

TEST(FieldColumns, BrokenRunsAreErrors) {
  EXPECT_THROW(find_field_columns(names("l", 1, 40)), Error);
  EXPECT_THROW(find_field_columns(names("vf", 0, 59)), Error);
  EXPECT_THROW(find_field_columns(names("vf", 1, 60)), Error);
  auto header = names("s", 1, 54);
  header.erase(header.begin() + 6);
  EXPECT_NE(message_of([&] { find_field_columns(header); }).find("s7"), std::string::npos);
  header = names("l", 1, 54);
  header.emplace_back("l9");
  EXPECT_NE(message_of([&] { find_field_columns(header); }).find("l9"), std::string::npos);
  header = names("l", 1, 54);
  for (const auto& name : names("s", 1, 54)) header.push_back(name);
  EXPECT_THROW(find_field_columns(header), Error);
}

std::vector<std::string> counting(int count) {
  std::vector<std::string> cells;
  for (int i = 0; i < count; ++i) cells.push_back(fmt::format("{:.1f}", 0.5 * i));
  return cells;
}

TEST(ParseField, BlindSpotIsNotMeasured) {
  for (const bool left : {false, true}) {
    const auto humphrey = parse_field(counting(54), left);
    ASSERT_EQ(humphrey.size(), 54U);
    for (int i = 0; i < 54; ++i) {
      if (i == 25 || i == 34) {
        EXPECT_TRUE(std::isnan(humphrey[i])) << i;
      } else {
        EXPECT_FLOAT_EQ(humphrey[i], 0.5F * static_cast<float>(i));
      }
    }
    const auto without = parse_field(counting(52), left);
    ASSERT_EQ(without.size(), 54U);
    EXPECT_TRUE(std::isnan(without[25]) && std::isnan(without[34]));
    EXPECT_FLOAT_EQ(without[24], 12.0F);
    EXPECT_FLOAT_EQ(without[26], 12.5F);
    EXPECT_FLOAT_EQ(without[33], 16.0F);
    EXPECT_FLOAT_EQ(without[35], 16.5F);
    EXPECT_FLOAT_EQ(without[53], 25.5F);
  }
  auto octopus = counting(61);
  octopus[21] = octopus[32] = octopus[45] = "-1";
  const auto field = parse_field(octopus, true);
  ASSERT_EQ(field.size(), 61U);
  EXPECT_TRUE(std::isnan(field[21]) && std::isnan(field[32]));
  EXPECT_FLOAT_EQ(field[45], -1.0F);  // not seen, which is a result
}

TEST(ParseField, ALeftEyeStoredAsSeenIsMirrored) {
  auto cells = counting(54);
  cells[19] = cells[28] = "";
  const auto mirrored = parse_field(cells, true);
  EXPECT_TRUE(std::isnan(mirrored[25]) && std::isnan(mirrored[34]));
  EXPECT_FLOAT_EQ(mirrored[0], 1.5F);    // first row reversed: points 1-4
  EXPECT_FLOAT_EQ(mirrored[18], 13.0F);  // fourth row reversed: points 19-27
  EXPECT_FLOAT_EQ(mirrored[53], 25.0F);
  // The same cells of a right eye are two points that were not measured.
  const auto right = parse_field(cells, false);
  EXPECT_TRUE(std::isnan(right[19]) && std::isnan(right[28]) && std::isnan(right[25]));
  EXPECT_FLOAT_EQ(right[0], 0.0F);
}

TEST(ParseField, UnderstandsWhatInstrumentsWrite) {
  auto cells = counting(54);
  cells[0] = "<0";
  cells[1] = "NA";
  cells[2] = "";
  cells[3] = " 7.25 ";
  cells[4] = "-7.2";
  const auto field = parse_field(cells, false);
  EXPECT_FLOAT_EQ(field[0], -1.0F);
  EXPECT_TRUE(std::isnan(field[1]) && std::isnan(field[2]));
  EXPECT_FLOAT_EQ(field[3], 7.25F);
  EXPECT_FLOAT_EQ(field[4], -7.2F);
  EXPECT_TRUE(parse_field(std::vector<std::string>(54), false).empty());
  EXPECT_TRUE(parse_field(std::vector<std::string>(61), true).empty());
}

TEST(ParseField, BadCellsAreNamed) {
  for (const std::string bad : {"abc", "61", "-11", "1e9", "inf", "12dB", "0x10", "1,5", "--3"}) {
    auto cells = counting(54);
    cells[8] = bad;
    const auto message = message_of([&] { parse_field(cells, false); });
    EXPECT_NE(message.find(bad), std::string::npos) << bad << ": " << message;
    EXPECT_NE(message.find("point 9"), std::string::npos) << bad << ": " << message;
  }
  for (const int count : {0, 1, 53, 55, 60, 62}) {
    EXPECT_THROW(parse_field(std::vector<std::string>(count, "20"), false), Error) << count;
  }
  std::vector<std::string> sparse(54);
  for (int i = 0; i < 20; ++i) sparse[i] = "20";
  EXPECT_THROW(parse_field(sparse, false), Error);
}

TEST(RenderField, AConstantFieldIsFlat) {
  struct Case {
    float dB;
    int grey;
  };
  for (const std::size_t points : {52U, 54U, 61U}) {
    for (const Case& c : {Case{0, 0}, {-1, 0}, {20, 128}, {40, 255}, {50, 255}}) {
      std::vector<float> field(points, c.dB);
      field[25] = nan;
      const Image image = render_field(field, 17, 23);
      ASSERT_EQ(image.height, 17);
      ASSERT_EQ(image.width, 23);
      ASSERT_EQ(image.channels, 1);
      for (const int pixel : image.pixels) EXPECT_NEAR(pixel, c.grey, 1) << points << " points at " << c.dB;
    }
  }
}

// Each point alone in the light: the picture is brightest where it lies.
TEST(RenderField, PutsPointsWhereTheyLie) {
  struct Case {
    std::size_t points;
    int index;
    float x, y;
  };
  for (const Case& c : {Case{54, 0, -9, 21},
                        {54, 18, -27, 3},
                        {54, 35, 21, -3},
                        {54, 53, 9, -21},
                        {61, 0, 0, 0},
                        {61, 45, -21.06F, 21.36F},
                        {61, 60, 26.74F, 8.22F},
                        {61, 54, 8.37F, -26.74F}}) {
    std::vector<float> field(c.points, 0.0F);
    field[c.index] = 40;
    const Image image = render_field(field, 60, 60);
    const auto brightest = std::max_element(image.pixels.begin(), image.pixels.end()) - image.pixels.begin();
    EXPECT_NEAR(static_cast<float>(brightest % 60) - 29.5F, c.x, 1.5F) << c.points << " " << c.index;
    EXPECT_NEAR(29.5F - static_cast<float>(brightest / 60), c.y, 1.5F) << c.points << " " << c.index;
    EXPECT_GT(*std::max_element(image.pixels.begin(), image.pixels.end()), 200);
  }
}

// A field whose upper half is blind, on either grid. G1 is numbered in rings, its points below the middle are
// these.
TEST(RenderField, SuperiorFieldIsAtTheTop) {
  const std::vector<int> lower{1,  2,  5,  6,  9,  10, 11, 12, 13, 14, 21, 22, 23, 24, 25,
                               26, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 53, 54, 55, 56};
  std::vector<float> humphrey(54), octopus(61);
  for (int i = 0; i < 54; ++i) humphrey[i] = i < 27 ? 10.0F : 30.0F;
  for (int i = 0; i < 61; ++i) octopus[i] = std::ranges::count(lower, i) == 1 ? 30.0F : 10.0F;
  for (const auto& field : {humphrey, octopus}) {
    const Image image = render_field(field, 32, 32);
    EXPECT_LT(*image.at(4, 16), 90) << field.size();
    EXPECT_GT(*image.at(27, 16), 165) << field.size();
  }
}

TEST(RenderField, UnmeasuredPointsAreFilledFromTheirNeighbours) {
  std::vector<float> field(54, 30.0F);
  const Image whole = render_field(field, 40, 40);
  for (const int i : {0, 10, 25, 34, 53}) field[i] = nan;
  EXPECT_EQ(render_field(field, 40, 40).pixels, whole.pixels);
}

TEST(RenderField, IsTheSameFromSeveralThreads) {
  std::vector<float> field(61);
  for (int i = 0; i < 61; ++i) field[i] = static_cast<float>(i % 35);
  const Image expected = render_field(field, 31, 29);
  std::vector<Image> images(24);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < 24; i += 4) {
        render_field(field, 16 + i, 16);  // more sizes than are kept
        images[i] = render_field(field, 31, 29);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const Image& image : images) EXPECT_EQ(image.pixels, expected.pixels);
}

TEST(RenderField, RefusesWhatIsNoField) {
  for (const std::size_t count : {0U, 1U, 53U, 60U, 62U}) {
    EXPECT_THROW(render_field(std::vector<float>(count, 20.0F), 8, 8), Error) << count;
  }
  EXPECT_THROW(render_field(std::vector<float>(54, nan), 8, 8), Error);
  EXPECT_THROW(render_field(std::vector<float>(54, 20.0F), 0, 8), Error);
  EXPECT_THROW(render_field(std::vector<float>(54, 20.0F), 8, -1), Error);
}

}  // namespace
}  // namespace fovea
