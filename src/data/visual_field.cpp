// Visual fields: finding them in a header, reading their cells, drawing them.
//
// Interpolation: Shepard (1968), v(p) = sum w_i v_i / sum w_i with w_i = 1 / (d_i^2 + r_i^2)^2, d_i the
// distance in degrees. The fourth power keeps a scotoma where it is; r_i, a third of the way to point i's
// nearest neighbour, rounds the peaks at the points. The weights depend only on grid and size, so they are
// made once and a picture costs one multiply-add per point and pixel.
//
// Coordinates: 24-2 as in visualFields (R), `locmaps$p24d2`; G1 as digitised for GRAPE (Sci Data 2023), where
// its y runs up: eyes with less nerve-fibre layer below than above have their loss at positive y, and 24-2
// and G1 agree on where a right eye's blind spot is.
#include "data/visual_field.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <tuple>

#include "data/csv.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

struct Point {
  float x, y;
};

constexpr std::array<Point, points_24_2> grid_24_2{
    {{-9, 21},  {-3, 21},  {3, 21},   {9, 21},  {-15, 15}, {-9, 15},  {-3, 15},  {3, 15},  {9, 15},
     {15, 15},  {-21, 9},  {-15, 9},  {-9, 9},  {-3, 9},   {3, 9},    {9, 9},    {15, 9},  {21, 9},
     {-27, 3},  {-21, 3},  {-15, 3},  {-9, 3},  {-3, 3},   {3, 3},    {9, 3},    {15, 3},  {21, 3},
     {-27, -3}, {-21, -3}, {-15, -3}, {-9, -3}, {-3, -3},  {3, -3},   {9, -3},   {15, -3}, {21, -3},
     {-21, -9}, {-15, -9}, {-9, -9},  {-3, -9}, {3, -9},   {9, -9},   {15, -9},  {21, -9}, {-15, -15},
     {-9, -15}, {-3, -15}, {3, -15},  {9, -15}, {15, -15}, {-9, -21}, {-3, -21}, {3, -21}, {9, -21}}};
constexpr std::array<Point, points_g1> grid_g1{{{0, 0},
                                                {1.94F, -1.79F},
                                                {-2.09F, -1.94F},
                                                {-2.09F, 2.09F},
                                                {1.79F, 1.94F},
                                                {4.18F, -4.33F},
                                                {-4.48F, -4.18F},
                                                {-4.48F, 4.33F},
                                                {4.18F, 4.33F},
                                                {8.07F, -1.79F},
                                                {8.22F, -8.22F},
                                                {3.14F, -9.41F},
                                                {-3.14F, -9.41F},
                                                {-8.37F, -8.07F},
                                                {-8.37F, -1.79F},
                                                {-8.51F, 2.24F},
                                                {-8.22F, 8.22F},
                                                {-2.24F, 8.37F},
                                                {1.79F, 8.37F},
                                                {8.51F, 8.22F},
                                                {8.22F, 2.09F},
                                                {15.83F, -1.79F},
                                                {12.7F, -12.4F},
                                                {4.48F, -14.34F},
                                                {-4.18F, -14.49F},
                                                {-12.7F, -12.4F},
                                                {-14.64F, -4.03F},
                                                {-14.79F, 4.63F},
                                                {-12.85F, 13},
                                                {-4.48F, 14.94F},
                                                {4.18F, 14.79F},
                                                {12.25F, 13},
                                                {17.03F, 1.94F},
                                                {22.71F, -4.18F},
                                                {20.76F, -12.4F},
                                                {20.91F, -20.76F},
                                                {12.55F, -20.62F},
                                                {4.48F, -20.76F},
                                                {-4.33F, -20.76F},
                                                {-12.85F, -20.47F},
                                                {-20.76F, -20.62F},
                                                {-20.91F, -12.4F},
                                                {-21.06F, -4.18F},
                                                {-20.91F, 4.78F},
                                                {-21.06F, 13},
                                                {-21.06F, 21.36F},
                                                {-12.7F, 21.36F},
                                                {-4.63F, 21.21F},
                                                {4.03F, 21.21F},
                                                {12.25F, 21.36F},
                                                {20.62F, 21.36F},
                                                {20.76F, 12.7F},
                                                {22.56F, 4.63F},
                                                {26.59F, -8.22F},
                                                {8.37F, -26.74F},
                                                {-8.51F, -26.44F},
                                                {-26.89F, -3.88F},
                                                {-26.89F, 4.78F},
                                                {-8.51F, 27.04F},
                                                {8.07F, 27.19F},
                                                {26.74F, 8.22F}}};
constexpr std::array blind_24_2{25, 34};
constexpr std::array blind_24_2_left{19, 28};
constexpr std::array blind_g1{21, 32};

// Where the rows of 24-2 start.
constexpr std::array rows_24_2{0, 4, 10, 18, 27, 36, 44, 50, 54};

constexpr float not_measured = std::numeric_limits<float>::quiet_NaN();
constexpr float field_of_view = 30.0F;  // degrees from the centre to each side of the picture
constexpr float brightest_dB = 40.0F;
constexpr int least_columns = 30;

// The number after the prefix, if that is all the rest of the name is: `l07` is not l7.
std::optional<int> number_after(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (name.empty() || error != std::errc{} || end != name.data() + name.size()) return {};
  if (number < 0 || fmt::format("{}", number) != name) return {};
  return number;
}

std::vector<int> find_columns(const std::vector<std::string>& header, std::string_view prefix) {
  std::map<int, int> columns;  // number -> column
  for (int i = 0; i < static_cast<int>(header.size()); ++i) {
    const auto number = number_after(header[i], prefix);
    if (!number || *number >= points_g1) continue;
    if (!columns.emplace(*number, i).second && columns.size() >= 2) {
      fail(fmt::format("the header names column `{}` twice", header[i]));
    }
  }
  const int count = static_cast<int>(columns.size());
  if (count < least_columns) return {};
  const int first = prefix == "vf" && columns.contains(0) ? 0 : 1;
  for (int i = 0; i < count; ++i) {
    if (!columns.contains(first + i)) {
      fail(fmt::format("the header has {} columns {}N of a visual field, but no `{}{}`", count, prefix,
                       prefix, first + i));
    }
  }
  const bool whole = first == 0 ? count == points_g1 : count == points_24_2 || count == points_24_2 - 2;
  if (!whole) {
    fail(
        fmt::format("the header has {} columns {}{}..{}{}; a visual field has {}1..{}54 or 1..52 (24-2), or "
                    "vf0..vf60 (G1)",
                    count, prefix, first, prefix, first + count - 1, prefix, prefix));
  }
  std::vector<int> result;
  for (const auto& [number, column] : columns) result.push_back(column);
  return result;
}

// Decides before the text is a number, since a float parser would take "nan" and "inf" too.
bool is_blank(std::string_view text) {
  return text.empty() || text == "NA" || text == "nan" || text == "NaN";
}

float parse_threshold(std::string_view text, std::size_t place) {
  if (is_blank(text)) return not_measured;
  if (text == "<0") return -1.0F;
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    fail(fmt::format("visual-field point {} is `{}`, which is not a number of dB", place + 1, text));
  }
  if (!(value >= -10.0F && value <= 60.0F)) {
    fail(
        fmt::format("visual-field point {} is {} dB; thresholds lie between -10 and 60 dB", place + 1, text));
  }
  return value;
}

bool stored_as_left(const std::vector<float>& field) {
  const auto blank = [&](int i) { return std::isnan(field[i]); };
  return std::ranges::all_of(blind_24_2_left, blank) && std::ranges::none_of(blind_24_2, blank);
}

std::vector<float> spread_52(const std::vector<float>& field) {
  std::vector<float> spread = field;
  for (const int i : blind_24_2) spread.insert(spread.begin() + i, not_measured);
  return spread;
}

// Weights by point, then pixel in reading order: w[i][y * width + x].
using Weights = std::vector<std::vector<float>>;

template <std::size_t n>
Weights make_weights(const std::array<Point, n>& grid, int height, int width) {
  Weights weights(n, std::vector<float>(static_cast<std::size_t>(height) * width));
  for (std::size_t i = 0; i < n; ++i) {
    float nearest = std::numeric_limits<float>::max();
    for (std::size_t j = 0; j < n; ++j) {
      if (j != i) nearest = std::min(nearest, std::hypot(grid[j].x - grid[i].x, grid[j].y - grid[i].y));
    }
    const float rounding = nearest * nearest / 9;
    for (int py = 0; py < height; ++py) {
      const float y =
          field_of_view * (1.0F - (2.0F * static_cast<float>(py) + 1.0F) / static_cast<float>(height));
      for (int px = 0; px < width; ++px) {
        const float x =
            field_of_view * ((2.0F * static_cast<float>(px) + 1.0F) / static_cast<float>(width) - 1.0F);
        const float dx = x - grid[i].x, dy = y - grid[i].y;
        const float square = dx * dx + dy * dy + rounding;
        weights[i][static_cast<std::size_t>(py) * width + px] = 1.0F / (square * square);
      }
    }
  }
  return weights;
}

std::shared_ptr<const Weights> weights_for(int points, int height, int width) {
  constexpr std::size_t most_kept = 8;
  static std::mutex mutex;
  static std::map<std::tuple<int, int, int>, std::shared_ptr<const Weights>> kept;
  const std::lock_guard lock(mutex);
  const auto key = std::tuple(points, height, width);
  const auto found = kept.find(key);
  if (found != kept.end()) return found->second;
  if (kept.size() >= most_kept) kept.clear();
  auto weights = std::make_shared<const Weights>(
      points == points_g1 ? make_weights(grid_g1, height, width) : make_weights(grid_24_2, height, width));
  kept.emplace(key, weights);
  return weights;
}

}  // namespace

std::vector<int> find_field_columns(const std::vector<std::string>& header) {
  std::vector<int> found;
  std::string_view of;
  for (const std::string_view prefix : {"l", "s", "vf.", "vf"}) {
    auto columns = find_columns(header, prefix);
    if (columns.empty()) continue;
    if (!found.empty()) {
      fail(fmt::format("the header has two visual fields, {}1.. and {}1..; keep one of them", of, prefix));
    }
    found = std::move(columns);
    of = prefix;
  }
  return found;
}

std::vector<float> parse_field(const std::vector<std::string>& cells, bool left_eye) {
  const auto count = static_cast<int>(cells.size());
  if (count != points_24_2 && count != points_24_2 - 2 && count != points_g1) {
    fail(fmt::format("a visual field has 54 or 52 points (24-2) or 61 (G1), not {}", count));
  }
  std::vector<float> field;
  for (std::size_t i = 0; i < cells.size(); ++i) field.push_back(parse_threshold(trim(cells[i]), i));
  if (std::ranges::all_of(field, [](float v) { return std::isnan(v); })) return {};

  if (count == points_24_2 - 2) field = spread_52(field);
  if (count == points_24_2 && left_eye && stored_as_left(field)) {
    for (std::size_t row = 0; row + 1 < rows_24_2.size(); ++row) {
      std::reverse(field.begin() + rows_24_2[row], field.begin() + rows_24_2[row + 1]);
    }
  }
  for (const int i : count == points_g1 ? blind_g1 : blind_24_2) field[i] = not_measured;

  const auto measured = std::ranges::count_if(field, [](float v) { return !std::isnan(v); });
  if (2 * measured < static_cast<std::ptrdiff_t>(field.size())) {
    fail(fmt::format(
        "only {} of {} visual-field points hold a value; leave all empty where the field is missing",
        measured, count));
  }
  return field;
}

Image render_field(const std::vector<float>& field, int height, int width) {
  if (field.size() == points_24_2 - 2) return render_field(spread_52(field), height, width);
  if (field.size() != points_24_2 && field.size() != points_g1) {
    fail(fmt::format("a visual field has 54 or 52 points (24-2) or 61 (G1), not {}", field.size()));
  }
  if (height < 1 || width < 1)
    fail(fmt::format("cannot draw a visual field at {} x {} pixels", height, width));

  const auto weights = weights_for(static_cast<int>(field.size()), height, width);
  const std::size_t pixels = static_cast<std::size_t>(height) * width;
  std::vector<float> sum(pixels), total(pixels);
  bool any = false;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (std::isnan(field[i])) continue;
    any = true;
    const float value = std::clamp(field[i], 0.0F, brightest_dB) * (255.0F / brightest_dB);
    const float* w = (*weights)[i].data();
    for (std::size_t p = 0; p < pixels; ++p) {
      sum[p] += w[p] * value;
      total[p] += w[p];
    }
  }
  if (!any) fail("the visual field has no measured point");

  Image image = make_image(height, width, 1);
  for (std::size_t p = 0; p < pixels; ++p) {
    image.pixels[p] = static_cast<std::uint8_t>(std::lround(std::clamp(sum[p] / total[p], 0.0F, 255.0F)));
  }
  return image;
}

}  // namespace fovea
