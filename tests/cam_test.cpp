// Class activation maps: the formulas on numbers worked by hand, what is reported instead of drawn, the pass
// through a model, the scores, and where marks of a photograph lie in a map. tests/cam_twin_test.py has the
// values of whole models.
#include "eval/cam.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/engine.hpp"
#include "data/regions.hpp"
#include "data_files.hpp"
#include "eval/cam_pass.hpp"
#include "eval/cam_scores.hpp"
#include "eval/colour_map.hpp"
#include "eval/sheet.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using testing::expect_error;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void expect_near(const std::vector<double>& got, const std::vector<double>& wanted,
                 double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], tolerance) << i;
}

// ---- the formulas

// Two pixels of two channels: A = (1, 2), (3, 4), G = (2, -1), (4, 1).
std::vector<double> two_pixels(CamMethod method, const std::vector<double>& g = {2, -1, 4, 1}) {
  const std::vector<double> a{1, 2, 3, 4};
  return class_activation(method, a, g, 1, 2, 2).values;
}

TEST(Cam, GradCamWeighsChannelsByTheirMeanGradient) {
  expect_near(two_pixels(CamMethod::gradcam), {3, 9});  // weights 3 and 0
}

TEST(Cam, GradCamPlusPlusWeighsPositiveGradientsByTheirShare) {
  // Channel 0, whose activations add up to 4: 2 * 4 / (8 + 32) + 4 * 16 / (32 + 256); channel 1, to 6: 1 / (2 + 6).
  const double first = 0.2 + 64.0 / 288, second = 0.125;
  expect_near(two_pixels(CamMethod::gradcam_plus_plus), {first + 2 * second, 3 * first + 4 * second}, 1e-6);
  expect_near(two_pixels(CamMethod::gradcam_plus_plus, {0, 0, 0, 0}), {0, 0});
}

TEST(Cam, HiResCamAndLayerCamWeighEachPixel) {
  expect_near(two_pixels(CamMethod::hirescam), {0, 16});
  expect_near(two_pixels(CamMethod::layercam), {2, 16});
}

TEST(Cam, NotANumberStaysOne) {
  for (const std::string& name : cam_method_names()) {
    const CamMethod method = parse_cam_method(name);
    EXPECT_EQ(name_of(method), name);
    const CamMap map{1, 2, two_pixels(method, {nan, 1, 1, 1})};
    EXPECT_EQ(status_of(map), CamStatus::not_finite) << name;
  }
}

TEST(Cam, RefusesWhatDoesNotFit) {
  expect_error([] { parse_cam_method("gradcam+"); }, {"'gradcam+'", "gradcam++"});
  const std::vector<double> four(4), six(6);
  expect_error([&] { class_activation(CamMethod::gradcam, four, six, 1, 2, 2); }, {"1 x 2 x 2", "4", "6"});
}

// ---- from a sum to a map

TEST(Cam, SaysWhatIsNotDrawn) {
  const auto status = [](std::vector<double> values) {
    const auto width = static_cast<std::int64_t>(values.size());
    return status_of({1, width, std::move(values)});
  };
  EXPECT_EQ(status({0, 1}), CamStatus::ok);
  EXPECT_EQ(status({-3, 1e-9}), CamStatus::ok);
  EXPECT_EQ(status({0, 0}), CamStatus::not_positive);
  EXPECT_EQ(status({-1, -2}), CamStatus::not_positive);
  EXPECT_EQ(status({5}), CamStatus::constant);
  EXPECT_EQ(status({5, 5 + 1e-7}), CamStatus::constant);
  EXPECT_EQ(status({5, 5.001}), CamStatus::ok);
  EXPECT_EQ(status({1, nan}), CamStatus::not_finite);
  EXPECT_EQ(status({1, std::numeric_limits<double>::infinity()}), CamStatus::not_finite);
  EXPECT_EQ(meaning_of(CamStatus::ok), "");
  EXPECT_NE(meaning_of(CamStatus::constant), "");
}

TEST(Cam, ResizesBetweenPixelCentres) {
  const auto row = [](std::vector<double> values, std::int64_t width) {
    const auto from = static_cast<std::int64_t>(values.size());
    return resized({1, from, std::move(values)}, 1, width).values;
  };
  expect_near(row({0, 1}, 4), {0, 0.25, 0.75, 1});
  expect_near(row({0, 1, 2, 3}, 2), {0.5, 2.5});       // no smoothing: two of four pixels each
  expect_near(row({0, 1, 2, 3, 4}, 2), {0.75, 3.25});  // 5/2 i + 3/4
  expect_near(row({0, 3, 9}, 3), {0, 3, 9});
  // Rows and columns apart: 2 x 2 to 4 x 4, its second row between the first two.
  const CamMap square = resized({2, 2, {0, 4, 8, 12}}, 4, 4);
  expect_near({square.values.begin() + 4, square.values.begin() + 8}, {2, 3, 5, 6});
}

TEST(Cam, AMapIsScaledBeforeAndAfterItsResize) {
  const CamMap sum{1, 4, {-5, 1, 3, -2}};
  const FinishedMap one = finish_map(std::span(&sum, 1), 1, 8);
  ASSERT_EQ(one.status, CamStatus::ok);
  // The ReLU leaves 0 1 3 0, that is 0 1/3 1 0; between the centres the peak is (3 * 1 + 1 * 1/3) / 4 = 5/6,
  // and goes to 1.
  expect_near(one.map.values, {0, 0.1, 0.3, 0.6, 1, 0.9, 0.3, 0}, 1e-6);
}

TEST(Cam, SeveralLayersAreTheMeanOfTheirMaps) {
  const CamMap first{1, 2, {0, 2}}, second{1, 4, {4, 0, 0, 0}}, flat{1, 1, {7}},
      negative{2, 2, {-1, -1, 0, -3}};
  // (0, 1/4, 3/4, 1) and (1, 0, 0, 0), half each, minus the least.
  const std::vector<CamMap> sums{first, second, flat, negative};
  const FinishedMap mean = finish_map(sums, 1, 4);
  ASSERT_EQ(mean.status, CamStatus::ok);
  expect_near(mean.map.values, {1, 0, 2.0 / 3, 1}, 1e-5);
  const std::vector<CamMap> none{negative, flat};
  EXPECT_EQ(finish_map(none, 1, 4).status, CamStatus::not_positive);
  EXPECT_TRUE(finish_map(none, 1, 4).map.values.empty());
  const std::vector<CamMap> broken{first, {1, 1, {nan}}};
  EXPECT_EQ(finish_map(broken, 1, 4).status, CamStatus::not_finite);
}

TEST(Cam, NpyIsTheFormatsFirstVersion) {
  const std::string bytes = npy_bytes({1, 2, {0.5, -1}});
  ASSERT_EQ(bytes.size(), 128u + 8);
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  EXPECT_EQ(bytes.substr(10, header.size()), header);
  EXPECT_EQ(bytes.substr(10 + header.size(), 128 - 10 - header.size()),
            std::string(128 - 11 - header.size(), ' ') + "\n");
  EXPECT_EQ(bytes.substr(128), std::string("\x00\x00\x00\x3f\x00\x00\x80\xbf", 8));
}

TEST(Cam, ColoursAreViridis) {
  const std::array<std::array<int, 3>, 5> wanted{
      {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}};
  for (std::size_t i = 0; i < wanted.size(); ++i)
    for (std::size_t c = 0; c < 3; ++c)
      EXPECT_NEAR(viridis(static_cast<double>(i) / 4)[c], wanted[i][c], 4) << i << " " << c;
  EXPECT_EQ(viridis(-1), viridis(0));
  EXPECT_EQ(viridis(2), viridis(1));
}

TEST(Cam, ASheetShowsPicturesPixelForPixel) {
  Sheet sheet(4, 3, 2);
  const std::vector<std::uint8_t> picture{255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
  sheet.picture(1, 1, 2, 2, picture.data(), 2, 2);
  const std::vector<std::uint8_t> page = sheet.rgb();
  ASSERT_EQ(page.size(), 6u * 8 * 3);
  const auto at = [&](std::size_t row, std::size_t column) {
    const auto from = page.begin() + static_cast<std::ptrdiff_t>((row * 8 + column) * 3);
    return std::vector<std::uint8_t>(from, from + 3);
  };
  EXPECT_EQ(at(0, 0), (std::vector<std::uint8_t>{255, 255, 255}));
  EXPECT_EQ(at(2, 2), (std::vector<std::uint8_t>{255, 0, 0}));
  EXPECT_EQ(at(5, 5), (std::vector<std::uint8_t>{10, 20, 30}));
}

// ---- the pass

// Logits (3 m, -m) of the mean m of twice the image, in each of two streams "fundus" and "vf" over the samples
// that have it.
class Doubler : public Model {
 public:
  Doubler() : Model({.classes = 2, .modalities = {"fundus", "vf"}}) {
    config_.dtype = Dtype::f64;
    weight_ = add_parameter("weight", {2, 1}, Dtype::f64);
    weight_.data<double>()[0] = 3;
    weight_.data<double>()[1] = -1;
  }
  void check_input_size(std::int64_t, std::int64_t) const override {}
  std::vector<CamLayer> cam_layers() const override { return {{"twice", {"module.1"}}, {"unused"}}; }
  std::vector<std::string> cam_streams() const override { return config_.modalities; }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    Tensor sum;
    for (std::size_t i = 0; i < input.images.size(); ++i) {
      std::vector<std::int64_t> rows;
      for (std::int64_t n = 0; n < input.images[i].shape()[0]; ++n)
        if (input.present[i].empty() || input.present[i][static_cast<std::size_t>(n)]) rows.push_back(n);
      if (rows.empty()) continue;
      const Tensor index = Tensor::from<std::int64_t>(std::span<const std::int64_t>(rows),
                                                      {static_cast<std::int64_t>(rows.size())}, Dtype::i64);
      const Tensor own = gather_rows(input.images[i], index);
      const Tensor twice = multiply(own, Tensor::scalar(2, Dtype::f64));
      if (context.capture) {
        context.capture->emplace_back(config_.modalities[i] + ".twice", twice);
        context.capture->emplace_back(config_.modalities[i] + ".unused", relu(twice));
      }
      const Tensor logits =
          scatter_rows(linear(global_avg_pool(twice), weight_, {}), index, input.images[i].shape()[0]);
      sum = sum ? add(sum, logits) : logits;
    }
    return sum ? sum : Tensor::zeros({input.images[0].shape()[0], 2}, Dtype::f64);
  }

 private:
  Tensor weight_;
};

ModelInput two_samples() {
  const std::vector<double> fundus{1, 2, -5, -6}, vf{7, 8, 9, 10};
  return {.images = {Tensor::from<double>(std::span<const double>(fundus), {2, 1, 2, 1}, Dtype::f64),
                     Tensor::from<double>(std::span<const double>(vf), {2, 1, 2, 1}, Dtype::f64)},
          .present = {{}, {0, 0}}};
}

TEST(CamPass, EachSampleGetsTheGradientOfItsOwnClass) {
  Doubler model;
  const CamPass pass = cam_pass(model, two_samples(), {"twice"}, {});
  EXPECT_EQ(pass.targets, (std::vector<std::int64_t>{0, 1}));
  expect_near(pass.logits.to_doubles(), {9, -3, -33, 11});
  ASSERT_EQ(pass.layers.size(), 1u);  // nobody has the field
  EXPECT_EQ(pass.layers[0].stream, "fundus");
  expect_near(pass.layers[0].activation.to_doubles(), {2, 4, -10, -12});
  expect_near(pass.layers[0].gradient.to_doubles(), {1.5, 1.5, -0.5, -0.5});
  const CamPass of_one = cam_pass(model, two_samples(), {"twice"}, 1);
  expect_near(of_one.layers[0].gradient.to_doubles(), {-0.5, -0.5, -0.5, -0.5});
}

TEST(CamPass, AStreamHasTheRowsOfItsSamples) {
  Doubler model;
  ModelInput input = two_samples();
  input.present = {{1, 0}, {1, 1}};
  const CamPass pass = cam_pass(model, input, {"twice"}, 0);
  ASSERT_EQ(pass.layers.size(), 2u);
  EXPECT_EQ(pass.layers[0].samples, (std::vector<std::int64_t>{0}));
  EXPECT_EQ(pass.layers[1].samples, (std::vector<std::int64_t>{0, 1}));
  expect_near(pass.layers[1].activation.to_doubles(), {14, 16, 18, 20});
}

TEST(CamPass, LeavesNothingBehind) {
  Doubler model;
  const ModelInput input = two_samples();
  const CamPass pass = cam_pass(model, input, {"unused"}, {});
  expect_near(pass.layers[0].gradient.to_doubles(), {0, 0, 0, 0});  // no way to the logits
  EXPECT_FALSE(model.training());
  EXPECT_TRUE(model.parameters()[0].tensor.requires_grad());
  EXPECT_FALSE(model.parameters()[0].tensor.grad());
  EXPECT_FALSE(input.images[0].requires_grad());
  ModelInput nobody = two_samples();
  nobody.present = {{0, 0}, {0, 0}};
  expect_error([&] { cam_pass(model, nobody, {"twice"}, {}); }, {"no sample has any"});
}

TEST(CamPass, LayersGoByTheirNamesAndTorchvisions) {
  const Doubler model;
  EXPECT_EQ(resolve_cam_layers(model, {}), (std::vector<std::string>{"twice"}));
  EXPECT_EQ(resolve_cam_layers(model, {"unused", "module.1"}), (std::vector<std::string>{"unused", "twice"}));
  expect_error([&] { resolve_cam_layers(model, {"twise"}); },
               {"'twise'", "did you mean 'twice'?", "twice, unused"});
  expect_error([&] { resolve_cam_layers(model, {"twice", "module.1"}); }, {"twice is named twice"});
}

// ---- scores

TEST(CamScores, PixelsAreRankedFromTheHighest) {
  EXPECT_EQ(ranked_pixels({1, 4, {0.5, 1, 0.5, 2}}), (std::vector<std::size_t>{3, 1, 0, 2}));
}

TEST(CamScores, TheAreaIsByTrapezoids) {
  EXPECT_DOUBLE_EQ(area_under(std::vector<double>{1, 0.5, 0}), 0.5);
  EXPECT_DOUBLE_EQ(area_under(std::vector<double>{0, 1, 1}), 0.75);
}

TEST(CamScores, CurvesChangeTheHighestPixelsFirst) {
  Doubler model;
  const std::vector<double> values{0.1, 0.4, 0, 0, 0, 0.2, 0, 0};
  ModelInput input;
  input.images = {Tensor::from<double>(std::span<const double>(values), {1, 1, 8, 1}, Dtype::f64),
                  Tensor::full({1, 1, 8, 1}, 0.5, Dtype::f64)};
  input.present = {{}, {0}};
  const std::vector<std::size_t> changed{0};
  const CamMap map{1, 8, {3, 5, 0, 0, 0, 4, 0, 0}};
  for (const int batch : {1, 3, 16}) {
    const Faithfulness f = faithfulness(model, input, changed, map, 0, {.steps = 4, .batch = batch});
    // Logits 3 m and -m of m = 2/8 of what is left; two pixels go at a time: 0.4 and 0.2, then 0.1 and a zero.
    const auto p = [](double left) { return 1 / (1 + std::exp(-4 * left / 4)); };
    expect_near(f.deletion_curve, {p(0.7), p(0.1), p(0), p(0), p(0)});
    EXPECT_NEAR(f.deletion, (p(0.7) / 2 + p(0.1) + 2.5 * p(0)) / 4, 1e-12);
    // The blurred image has the sum of the pixels inside; those at the border count for the repeated edge.
    ASSERT_EQ(f.insertion_curve.size(), 5u);
    EXPECT_NEAR(f.insertion_curve.back(), p(0.7), 1e-12);
    EXPECT_NEAR(f.insertion_curve.front(), p(0.7), 0.02);
  }
  expect_error([&] { faithfulness(model, input, changed, {1, 2, {0, 1}}, 0, {}); }, {"1 x 2", "1 x 8"});
}

TEST(CamScores, AConstantImageIsItsOwnBlur) {
  Doubler model;
  ModelInput input;
  input.images = {Tensor::full({1, 5, 7, 1}, 0.25, Dtype::f64), Tensor::full({1, 5, 7, 1}, 0.5, Dtype::f64)};
  input.present = {{}, {}};
  CamMap map{5, 7, std::vector<double>(35)};
  std::iota(map.values.begin(), map.values.end(), 0);
  const std::vector<std::size_t> both{0, 1};
  const Faithfulness f = faithfulness(model, input, both, map, 1, {.steps = 3, .batch = 2});
  for (const double p : f.insertion_curve) EXPECT_NEAR(p, f.insertion_curve[0], 1e-12);
  EXPECT_NEAR(f.deletion_curve[0], f.insertion_curve[0], 1e-12);
  EXPECT_NEAR(f.deletion_curve[3], 0.5, 1e-12);
}

TEST(CamScores, EnergyIsTheShareInsideARegion) {
  const CamMap map{2, 2, {1, 2, 3, 4}};
  const Energy column = energy_in(map, {.x0 = 1, .y0 = 0, .x1 = 2, .y1 = 2});
  EXPECT_DOUBLE_EQ(column.share, 0.6);
  EXPECT_DOUBLE_EQ(column.area, 0.5);
  // Half of the left column too; what lies outside does not count.
  const Energy wide = energy_in(map, {.x0 = 0.5, .y0 = -3, .x1 = 9, .y1 = 9});
  EXPECT_DOUBLE_EQ(wide.share, 0.8);
  EXPECT_DOUBLE_EQ(wide.area, 0.75);
  const Energy circle = energy_in(map, {.x0 = 0.5, .y0 = 1.5, .radius = 0.9});
  EXPECT_DOUBLE_EQ(circle.share, 0.3);
  EXPECT_DOUBLE_EQ(circle.area, 0.25);
  EXPECT_EQ(energy_in(map, {.x0 = 5, .y0 = 5, .x1 = 9, .y1 = 9}).area, 0);
}

// ---- marks

TEST(CamRegions, GoTheWayOfThePhotograph) {
  const testing::TempFolder folder;
  Sample sample;
  sample.fundus = folder.path("eye.png");
  write_png(sample.fundus, testing::pattern(50, 100, 3));
  const InputSpec spec{.modalities = {Modality::fundus}, .image_height = 100, .image_width = 100};
  EXPECT_FALSE(regions_in_input(sample, spec).disc);
  sample.disc = {20, 10, 30, 20};
  sample.fovea = Point{75, 25};
  InputRegions regions = regions_in_input(sample, spec);  // twice as high, as wide
  EXPECT_EQ(regions.disc->x0, 20);
  EXPECT_EQ(regions.disc->x1, 50);
  EXPECT_EQ(regions.disc->y0, 20);
  EXPECT_EQ(regions.disc->y1, 60);
  EXPECT_EQ(regions.fovea->x, 75);
  EXPECT_EQ(regions.fovea->y, 50);
  sample.roi = {10, 0, 50, 50};  // twice as wide too, and shifted
  sample.eye = Eye::left;        // and mirrored
  regions = regions_in_input(sample, spec);
  EXPECT_EQ(regions.disc->x0, 100 - 80);
  EXPECT_EQ(regions.disc->x1, 100 - 20);
  EXPECT_EQ(regions.fovea->x, 100 - 130);
  sample.disc = {80, 10, 30, 20};
  expect_error([&] { regions_in_input(sample, spec); },
               {"eye.png", "box of the disc", "30 x 20", "100 x 50"});
  sample.disc = {};
  sample.fovea = Point{75, 51};
  expect_error([&] { regions_in_input(sample, spec); }, {"eye.png", "fovea", "(75, 51)"});
}

}  // namespace
}  // namespace fovea
