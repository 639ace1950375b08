// The vectorised exp, sigmoid and normal distribution against the exact values: ordinary arguments in units in the last
// place, and every edge (overflow, subnormal results, infinities, NaN).
#include "kernels/cpu/vector_math.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/pointwise/pointwise.hpp"

namespace fovea {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

// |got - exact| in units of the spacing of floats at `exact`.
double ulps(float got, double exact) {
  const float near = static_cast<float>(exact);
  if (std::isinf(near) || std::isinf(got)) return near == got ? 0 : INFINITY;
  const double spacing = static_cast<double>(std::nextafter(std::fabs(near), inf)) - std::fabs(near);
  return std::fabs(static_cast<double>(got) - exact) / spacing;
}

// Runs f over the arguments in a loop that the compiler vectorises, as kernels do.
template <class F>
std::vector<float> vectorised(const std::vector<float>& x, F f) {
  std::vector<float> y(x.size());
  const float* in = x.data();
  float* out = y.data();
#pragma omp simd
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = f(in[i]);
  return y;
}

std::vector<float> range(float from, float to, int count) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    x[static_cast<std::size_t>(i)] =
        from + (to - from) * static_cast<float>(i) / static_cast<float>(count - 1);
  }
  return x;
}

double worst_exp(float from, float to) {
  const std::vector<float> x = range(from, to, 1000001);
  const std::vector<float> y = vectorised(x, [](float v) { return vector_math::exp(v); });
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps(y[i], std::exp(double(x[i]))));
  return worst;
}

TEST(VectorMath, ExpIsWithinTwoUlp) {
  EXPECT_LE(worst_exp(-87.3f, 88.72f), 2.0);
  EXPECT_LE(worst_exp(-1.0f, 1.0f), 2.0);
  EXPECT_LE(worst_exp(-1e-3f, 1e-3f), 2.0);
}

TEST(VectorMath, ExpUnderflowsThroughTheSubnormals) { EXPECT_LE(worst_exp(-104.5f, -87.3f), 2.0); }

TEST(VectorMath, ExpAtTheEdges) {
  const std::vector<float> x{0.0f, -0.0f, 88.73f, 89.5f, 1e30f, inf, -104.5f, -1e30f, -inf, 88.722f};
  const std::vector<float> y = vectorised(x, [](float v) { return vector_math::exp(v); });
  const std::vector<float> expected{1, 1, inf, inf, inf, inf, 0, 0, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(y[i], expected[i]) << "exp(" << x[i] << ")";
  EXPECT_TRUE(std::isfinite(y.back()));
}

TEST(VectorMath, NanPasses) {
  const std::vector<float> x(20, std::numeric_limits<float>::quiet_NaN());
  for (const float y : vectorised(x, [](float v) { return vector_math::exp(v); })) EXPECT_TRUE(std::isnan(y));
  for (const float y : vectorised(x, [](float v) { return vector_math::sigmoid(v); }))
    EXPECT_TRUE(std::isnan(y));
}

TEST(VectorMath, SigmoidIsWithinThreeUlpAndInZeroToOne) {
  const std::vector<float> x = range(-87.0f, 100.0f, 1000001);
  const std::vector<float> y = vectorised(x, [](float v) { return vector_math::sigmoid(v); });
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, ulps(y[i], 1 / (1 + std::exp(-double(x[i])))));
    ASSERT_TRUE(y[i] >= 0 && y[i] <= 1) << x[i];
  }
  EXPECT_LE(worst, 3.0);
}

TEST(VectorMath, SigmoidSaturates) {
  const std::vector<float> x{inf, 1e30f, 0.0f, -1e30f, -inf};
  const std::vector<float> y = vectorised(x, [](float v) { return vector_math::sigmoid(v); });
  EXPECT_EQ(y, (std::vector<float>{1, 1, 0.5f, 0, 0}));
}

double exact_share(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

double worst_share(float from, float to) {
  const std::vector<float> x = range(from, to, 1000001);
  const std::vector<float> y = vectorised(x, [](float v) { return vector_math::normal(v).share; });
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps(y[i], exact_share(double(x[i]))));
  return worst;
}

// Without fused multiply-adds, as in a build of little optimisation, it is 4.45 and 1.11.
TEST(VectorMath, NormalShareIsWithinFiveUlp) {
  EXPECT_LE(worst_share(-1e-3f, 1e-3f), 5.0);
  EXPECT_LE(worst_share(-1.0f, 1.0f), 5.0);
  EXPECT_LE(worst_share(1.0f, 20.0f), 1.25);
}

TEST(VectorMath, NormalShareLosesLeftwardsWhatTheSquareIsRoundedBy) {
  for (const float x : {-2.0f, -4.0f, -8.0f, -12.0f}) {
    EXPECT_LE(worst_share(x, x / 2), 4.0 + 0.5 * double(x) * double(x)) << x;
  }
}

TEST(VectorMath, ErfFollowsFromTheNormalShare) {
  const std::vector<float> x = range(-4.0f, 4.0f, 100001);
  const std::vector<float> y =
      vectorised(x, [](float v) { return 2.0f * vector_math::normal(v * 1.41421356237f).share - 1.0f; });
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::fabs(double(y[i]) - std::erf(double(x[i]))));
  EXPECT_LE(worst, 2.5e-7);
}

TEST(VectorMath, NormalDensityIsRightAndTheEdgesAre) {
  const std::vector<float> x{0.0f, 0.5f, -1.0f, 3.0f, -5.0f, 40.0f, -40.0f, inf, -inf};
  const std::vector<float> density = vectorised(x, [](float v) { return vector_math::normal(v).density; });
  const std::vector<float> share = vectorised(x, [](float v) { return vector_math::normal(v).share; });
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(-0.5 * double(x[i]) * double(x[i])) / std::sqrt(2 * std::acos(-1.0));
    EXPECT_NEAR(density[i], exact, 1e-6 * exact + 1e-37) << x[i];
    EXPECT_NEAR(share[i], exact_share(x[i]), 1e-6 * exact_share(x[i]) + 1e-37) << x[i];
  }
  EXPECT_TRUE(std::isnan(vector_math::normal(std::numeric_limits<float>::quiet_NaN()).share));
}

TEST(VectorMath, TheSigmoidThatRunsSaturatesToo) {
  std::vector<float> x(37, inf);
  x.front() = -inf;
  x.back() = std::numeric_limits<float>::quiet_NaN();
  const auto count = static_cast<std::int64_t>(x.size());
  const View view{x.data(), {count}, Dtype::f32, Device::cpu};
  dispatch(sigmoid_forward, {.dtype = Dtype::f32, .count = count}, {view, view});
  EXPECT_EQ(x.front(), 0);
  EXPECT_EQ(x[1], 1);
  EXPECT_TRUE(std::isnan(x.back()));
}

}  // namespace
}  // namespace fovea
