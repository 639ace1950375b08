// What the generic kernel checks do not see of max_pool: NaN and -inf, which of equal maxima wins, and how indices lie
// in their bytes; for every kernel of the CPU, the host executor's included.
#include "kernels/pool/pool.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/tensor.hpp"
#include "kernels/pool/pool_indices.hpp"

namespace fovea {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Pooled {
  std::vector<double> y;
  Bytes indices;
};

Pooled max_pool_by(const Kernel& kernel, const PoolProblem& p, const std::vector<double>& values) {
  const Tensor x = Tensor::from<double>(values, p.x_shape(), p.dtype),
               y = Tensor::empty(p.y_shape(), p.dtype);
  const Tensor indices = Tensor::full(p.indices_shape(), 0xEE, Dtype::u8);
  const std::vector<View> ports{x.view(), y.view(), indices.view()};
  kernel.run(&p, ports, {});
  const auto* first = indices.data<std::uint8_t>();
  return {y.to_doubles(), {first, first + indices.numel()}};
}

template <class F>
void for_each_cpu_kernel(F&& f) {
  for (const Kernel& kernel : max_pool_forward.kernels) {
    if (device_of(kernel.backend) != Device::cpu) continue;
    SCOPED_TRACE(kernel.name);
    f(kernel);
  }
}

TEST(MaxPool, NanIsAMaximumAndTheFirstOfEqualsWins) {
  const double nan = std::nan(""), low = -std::numeric_limits<double>::infinity();
  for_each_cpu_kernel([&](const Kernel& kernel) {
    // Four windows of 2x2 in a row: a NaN in the middle, two NaNs, nothing but -inf, and a tie.
    const PoolProblem p{.h = 2, .w = 8, .c = 1};
    const Pooled got = max_pool_by(kernel, p,
                                   {1, nan, nan, 5, low, low, 3, 7,  //
                                    9, 2, 4, nan, low, low, 7, 7});
    EXPECT_TRUE(std::isnan(got.y[0]));
    EXPECT_TRUE(std::isnan(got.y[1]));
    EXPECT_EQ(got.y[2], low);
    EXPECT_EQ(got.y[3], 7);
    EXPECT_EQ(got.indices, (Bytes{1 | 3 << 2 | 0 << 4 | 1 << 6}));
  });
}

// Averages of ones by torch.nn.functional.avg_pool2d(..., ceil_mode=True): taps inside the image over taps counted.
TEST(AvgPool, CeilModeCountsPaddingAsTorchDoes) {
  struct Known {
    PoolProblem p;
    std::vector<double> y;
  };
  const std::vector<Known> all{
      {{.h = 5, .w = 8, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1, .ceil_mode = 1},
       {4. / 9, 6. / 9, 6. / 9, 6. / 9, 2. / 6, 6. / 9, 1, 1, 1, 3. / 6, 4. / 9, 6. / 9, 6. / 9, 6. / 9,
        2. / 6}},
      {{.h = 6, .w = 5, .kernel_h = 3, .kernel_w = 2, .stride_w = 3, .pad_h = 1, .pad_w = 1, .ceil_mode = 1},
       {1. / 3, 2. / 3, 0.5, 1, 0.5, 1, 0.25, 0.5}},
      {{.h = 5, .w = 3, .stride_h = 3, .stride_w = 4, .pad_h = 1, .pad_w = 1, .ceil_mode = 1}, {0.25, 0.5}},
      {{.h = 7, .w = 4, .kernel_h = 4, .kernel_w = 3, .stride_h = 3, .pad_h = 2, .ceil_mode = 1},
       {0.5, 0.5, 1, 1, 0.75, 0.75}},
  };
  for (Known known : all) {
    for (const bool include : {true, false}) {
      known.p.count_include_pad = include;
      known.p.check();
      const std::vector<double> ones(known.y.size(), 1);
      const Tensor x = Tensor::full(known.p.x_shape(), 1, Dtype::f32);
      for (const Kernel& kernel : avg_pool_forward.kernels) {
        if (device_of(kernel.backend) != Device::cpu || !kernel.supports(&known.p)) continue;
        const Tensor y = Tensor::empty(known.p.y_shape(), Dtype::f32);
        const std::vector<View> ports{x.view(), y.view()};
        kernel.run(&known.p, ports, {});
        const std::vector<double> got = y.to_doubles(), &expected = include ? known.y : ones;
        ASSERT_EQ(got.size(), expected.size());
        for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6) << kernel.name;
      }
    }
  }
}

TEST(MaxPool, UnusedBitsOfTheLastByteAreZero) {
  for_each_cpu_kernel([&](const Kernel& kernel) {
    const PoolProblem p{.h = 2, .w = 2, .c = 6};
    std::vector<double> values(24, 0.0);
    for (std::size_t c = 0; c < 6; ++c) values[18 + c] = 1;  // tap 3 wins everywhere
    EXPECT_EQ(max_pool_by(kernel, p, values).indices, (Bytes{0xFF, 0x0F}));
  });
}

TEST(MaxPool, LargerWindowsHaveAByteEach) {
  const PoolProblem p{.h = 3, .w = 3, .c = 2, .kernel_h = 3, .kernel_w = 3};
  EXPECT_FALSE(p.packs_indices());
  for_each_cpu_kernel([&](const Kernel& kernel) {
    std::vector<double> values(18, 0.0);
    values[2 * 8] = values[2 * 5 + 1] = 1;
    EXPECT_EQ(max_pool_by(kernel, p, values).indices, (Bytes{8, 5}));
  });
}

TEST(PoolIndices, UnpackWhatWasPacked) {
  for (const std::int64_t count : {1, 4, 7, 64, 259}) {
    Bytes taps(static_cast<std::size_t>(count + 3) / 4 * 4, 0), packed(taps.size() / 4), again(taps.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      taps[i] = static_cast<std::uint8_t>(i * 7 % 4);
    pack_pool_indices(taps.data(), count, packed.data());
    unpack_pool_indices(packed.data(), 0, static_cast<std::int64_t>(packed.size()), again.data());
    EXPECT_EQ(again, taps);
  }
}

}  // namespace
}  // namespace fovea
