// Pictures: axes, and that what is drawn is where it must be (read back with cairo).
#include "eval/plots.hpp"

#include <cairo/cairo.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN(),
                 infinity = std::numeric_limits<double>::infinity();

class Plots : public testing::Test {
 protected:
  Plots() {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-plots-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    folder = name;
  }
  ~Plots() override { std::filesystem::remove_all(folder); }
  std::string file() const { return (folder / "x.png").string(); }
  std::filesystem::path folder;
};

/// A decoded PNG; colours as 0xRRGGBB.
struct Picture {
  explicit Picture(const std::string& path) {
    cairo_surface_t* surface = cairo_image_surface_create_from_png(path.c_str());
    status = cairo_surface_status(surface);
    width = cairo_image_surface_get_width(surface);
    height = cairo_image_surface_get_height(surface);
    const int stride = cairo_image_surface_get_stride(surface);
    for (int y = 0; y < height; ++y) {
      const auto* row =
          reinterpret_cast<const std::uint32_t*>(cairo_image_surface_get_data(surface) + y * stride);
      for (int x = 0; x < width; ++x) pixels.push_back(row[x] & 0xffffff);
    }
    cairo_surface_destroy(surface);
  }

  std::int64_t count(std::uint32_t colour) const { return std::count(pixels.begin(), pixels.end(), colour); }

  /// Mean height (y) of a colour in columns [x0, x1) below row y0; NaN where there is none.
  double mean_y(std::uint32_t colour, int x0, int x1, int y0) const {
    double sum = 0, n = 0;
    for (int y = y0; y < height; ++y) {
      for (int x = x0; x < x1; ++x) {
        if (pixels[static_cast<std::size_t>(y * width + x)] == colour) sum += y, n += 1;
      }
    }
    return n > 0 ? sum / n : nan;
  }

  cairo_status_t status;
  int width = 0, height = 0;
  std::vector<std::uint32_t> pixels;
};

constexpr std::uint32_t blue = 0x0072b2, vermilion = 0xd55e00, green = 0x008c66;
constexpr int plot_left = 132, plot_right = 1316, plot_top = 144;  // of draw_curves, in pixels

EpochRow row(int epoch, double train, double val, double accuracy) {
  return {.epoch = epoch, .train_loss = train, .val_loss = val, .val_accuracy = accuracy};
}

TEST(Axes, TicksAreRoundAndCover) {
  EXPECT_EQ(axis_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  EXPECT_EQ(axis_ticks(1, 10, 8), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(axis_ticks(-3, 12, 3), (std::vector<double>{-5, 0, 5, 10, 15}));
  const double ranges[][2] = {{0, 1.0986},      {0, 1e-12},     {0, 1e29},          {-7, -6.99},
                              {5, 5},           {0, 0},         {0.1, 0.1 + 1e-16}, {0, 5e-324},
                              {1e15, 1e15 + 1}, {-1e-25, 1e-25}};
  for (const auto& range : ranges) {
    for (const int count : {1, 3, 5, 10}) {
      const auto ticks = axis_ticks(range[0], range[1], count);
      ASSERT_GE(ticks.size(), 2u);
      ASSERT_LE(ticks.size(), static_cast<std::size_t>(2 * count + 3)) << range[0] << ' ' << range[1];
      const double slack = 1e-8 * (ticks.back() - ticks.front());
      EXPECT_LE(ticks.front(), range[0] + slack);
      EXPECT_GE(ticks.back(), range[1] - slack);
      for (std::size_t i = 1; i < ticks.size(); ++i) EXPECT_GT(ticks[i], ticks[i - 1]);
    }
  }
  for (const auto& ticks :
       {axis_ticks(nan, 1, 5), axis_ticks(0, infinity, 5), axis_ticks(2, 1, 5), axis_ticks(0, 1e308, 5)}) {
    EXPECT_EQ(ticks.front(), 0);
    EXPECT_EQ(ticks.back(), 1);
  }
}

TEST(Axes, EpochTicksAreWholeAndInside) {
  for (const int last : {1, 2, 3, 10, 100, 1234}) {
    std::vector<EpochRow> rows;
    for (int epoch = 1; epoch <= last; ++epoch) rows.push_back(row(epoch, 1, 1, 0));
    const CurveAxes axes = curve_axes(rows);
    EXPECT_LT(axes.first, axes.last);
    ASSERT_FALSE(axes.epochs.empty()) << last;
    for (const double tick : axes.epochs)
      EXPECT_TRUE(tick == std::floor(tick) && tick >= axes.first && tick <= axes.last);
  }
  EXPECT_EQ(curve_axes({}).losses.front(), 0);
}

TEST_F(Plots, CurvesGoWhereTheValuesGo) {
  std::vector<EpochRow> rows;
  for (int epoch = 1; epoch <= 40; ++epoch)
    rows.push_back(row(epoch, 2.0 / epoch, 1 + epoch / 40.0, epoch / 40.0));
  draw_curves(file(), rows);
  const Picture picture(file());
  ASSERT_EQ(picture.status, CAIRO_STATUS_SUCCESS);
  EXPECT_EQ(picture.width, 1440);
  EXPECT_EQ(picture.height, 840);
  const auto falls = [&](std::uint32_t colour) {
    return picture.mean_y(colour, plot_right - 150, plot_right - 5, plot_top - 5) -
           picture.mean_y(colour, plot_left + 5, plot_left + 150, plot_top - 5);
  };
  EXPECT_GT(falls(blue), 100) << "the training loss falls, so its line goes down the picture";
  EXPECT_LT(falls(vermilion), -100);
  EXPECT_LT(falls(green), -100);
}

TEST_F(Plots, CurvesWithGapsAndOddValues) {
  std::vector<EpochRow> rows;
  for (int epoch = 1; epoch <= 30; ++epoch) {
    const bool hole = epoch > 10 && epoch <= 20;
    rows.push_back(row(epoch, hole ? nan : 1, hole ? infinity : 0.5, 1e308));
  }
  draw_curves(file(), rows);
  const Picture picture(file());
  const int middle = (plot_left + plot_right) / 2;
  EXPECT_TRUE(std::isnan(picture.mean_y(blue, middle - 100, middle + 100, plot_top - 5)))
      << "a gap was drawn over";
  EXPECT_TRUE(std::isnan(picture.mean_y(vermilion, middle - 100, middle + 100, plot_top - 5)));
  EXPECT_FALSE(std::isnan(picture.mean_y(blue, plot_left + 5, plot_left + 100, plot_top - 5)));
}

TEST_F(Plots, CurvesOfNoneAndOneEpoch) {
  draw_curves(file(), {});
  const std::int64_t legend_only = Picture(file()).count(blue);
  draw_curves(file(), std::vector<EpochRow>{row(1, 1.1, 1.2, 0.3)});
  EXPECT_GT(Picture(file()).count(blue), legend_only + 20) << "a single epoch shows as a dot";
}

TEST_F(Plots, ConfusionTintsByShareOfTheRow) {
  draw_confusion(file(), {{50, 0, 0}, {0, 1, 0}, {0, 0, 7}}, {"non", "early", "mid or advanced"});
  const Picture perfect(file());
  ASSERT_EQ(perfect.status, CAIRO_STATUS_SUCCESS);
  EXPECT_GT(perfect.count(blue), 3 * 190 * 190) << "three cells full, whatever their counts";
  draw_confusion(file(), {{25, 25, 0}, {0, 1, 1}, {0, 7, 7}}, {"a", "b", "c"});
  EXPECT_EQ(Picture(file()).count(blue), 0) << "no row is sure";
}

TEST_F(Plots, ConfusionOfOddSets) {
  draw_confusion(file(), {{0}}, {"only"});
  EXPECT_EQ(Picture(file()).status, CAIRO_STATUS_SUCCESS);
  const std::size_t many = 25;
  draw_confusion(file(), Confusion(many, std::vector<std::int64_t>(many, 123456)),
                 std::vector<std::string>(many, std::string(300, 'w') + "\xff\xe2\x82\xac"));
  EXPECT_EQ(Picture(file()).status, CAIRO_STATUS_SUCCESS);
  // Text that is not UTF-8 would stop cairo and leave the cells after it empty.
  draw_confusion(file(), {{9, 0}, {0, 9}}, {"\xed\xa0\x80\xff\xc0\x80\n", "\xf4\x90\x80\x80"});
  EXPECT_GT(Picture(file()).count(blue), 2 * 190 * 190);
  EXPECT_THROW(draw_confusion(file(), {{1}}, {"a", "b"}), Error);
  EXPECT_THROW(draw_confusion((folder / "no" / "x.png").string(), {{1}}, {"a"}), Error);
}

}  // namespace
}  // namespace fovea
