// The convolutions' launch shapes, and their kernels as launchers cut them on other machines: with large tiles, with
// weight gradients in many parts.
#include <gtest/gtest.h>

#include "cases/conv2d.hpp"
#include "cases/mlrm.hpp"
#include "harness.hpp"
#include "kernels/cuda/convolution_shape.hpp"

namespace fovea {
namespace {

constexpr simt::Limits h100{227 << 10, 16, 90, 132}, single{227 << 10, 16, 90, 1},
    huge{227 << 10, 16, 90, 2000};

class OnOtherMachines : public ::testing::TestWithParam<simt::Limits> {
 protected:
  void SetUp() override { simt::set_limits(GetParam()); }
  void TearDown() override { simt::set_limits(before_); }

  /// The kernels of the host executor against the reference, on this machine.
  static void check(const cases::PrimitiveCase& c, const std::vector<Dtype>& dtypes) {
    const cases::PortTensors ports = testing::rounded_ports(c, testing::make_ports(c), Dtype::bf16);
    const Kernel* reference = nullptr;
    for (const Kernel& kernel : c.primitive->kernels) {
      if (kernel.backend == Backend::reference) reference = &kernel;
    }
    const auto expected = testing::run_kernel(c, *reference, ports, Dtype::f64);
    std::size_t ran = 0;
    for (const Kernel& kernel : c.primitive->kernels) {
      if (kernel.backend != Backend::simt) continue;
      for (const Dtype dtype : dtypes) {
        SCOPED_TRACE(std::string(c.primitive->name) + ", " + c.label + ", " + std::string(name_of(dtype)));
        if (!kernel.supports(c.problem(dtype).get())) continue;  // depthwise; that one ran is checked below
        const auto got = testing::run_kernel(c, kernel, ports, dtype);
        EXPECT_EQ(got.damage, "");
        for (std::size_t i = 0; i < got.outputs.size(); ++i) {
          if (got.outputs[i].empty()) continue;
          EXPECT_LE(testing::relative_error(got.outputs[i], expected.outputs[i]),
                    dtype == Dtype::bf16 ? 5e-3 + c.bf16_error : 2e-5)
              << "port " << i;
        }
        ++ran;
      }
    }
    EXPECT_EQ(ran, dtypes.size());
  }

 private:
  simt::Limits before_ = simt::limits();
};

TEST_P(OnOtherMachines, Conv2d) {
  const Conv2dProblem problems[] = {
      {.n = 3, .h = 9, .w = 7, .c = 40, .k = 136, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1},
      {.n = 2,
       .h = 11,
       .w = 9,
       .c = 144,
       .k = 24,
       .r = 3,
       .s = 3,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 1,
       .pad_w = 1},
      {.n = 5, .h = 6, .w = 8, .c = 16, .k = 32, .r = 2, .s = 3, .pad_w = 2, .dilation_w = 2, .groups = 2},
      {.n = 1, .h = 13, .w = 12, .c = 5, .k = 3, .r = 3, .s = 1, .pad_h = 1},
  };
  for (const Conv2dProblem& p : problems) {
    const std::string label = to_string(p.x_shape());
    check(cases::make_case(conv2d_forward, label, p), {Dtype::bf16});
    check(cases::make_case(conv2d_backward_data, label, p), {Dtype::bf16});
    check(cases::make_case(conv2d_backward_weights, label, p), {Dtype::f32, Dtype::f64, Dtype::bf16});
  }
}

TEST_P(OnOtherMachines, Mlrm) {
  const MlrmProblem p{.branches = 2, .n = 7, .h = 5, .w = 4, .c = 136, .dilations = {1, 3}};
  using Prepare = std::function<void(const MlrmProblem&, cases::PortTensors&)>;
  check(cases::make_case(mlrm_forward_training, "5x4", p, Prepare(cases::prepare_mlrm_forward)),
        {Dtype::bf16});
  check(cases::make_case(mlrm_backward, "5x4", p, Prepare(cases::prepare_mlrm_backward), 1, 0x1p-8),
        {Dtype::bf16});
}

INSTANTIATE_TEST_SUITE_P(Machines, OnOtherMachines, ::testing::Values(single, huge),
                         [](const auto& info) { return "of" + std::to_string(info.param.multiprocessors); });

TEST(ConvolutionTile, IsLargeWhereThatLeavesNoMultiprocessorIdle) {
  const auto tile = [](std::int64_t m, std::int64_t n, std::int64_t products, bool vectors = true) {
    return convolution_tile(Dtype::bf16, m, n, products, vectors, h100);
  };
  EXPECT_EQ(tile(32 * 14 * 14, 512, 3), ConvolutionTile::large_bf16);  // mlrm: 49 x 4 x 3 blocks
  EXPECT_EQ(tile(8 * 14 * 14, 512, 1), ConvolutionTile::small_bf16);   // 13 x 4 blocks
  EXPECT_EQ(tile(8 * 224 * 224, 64, 1), ConvolutionTile::large_bf16);
  EXPECT_EQ(tile(8 * 224 * 224, 64, 1, false), ConvolutionTile::small_bf16);
  EXPECT_EQ(convolution_tile(Dtype::f32, 1 << 20, 512, 1, true, h100), ConvolutionTile::f32);
}

TEST(ConvolutionTile, WeightGradientsAreCutForAllMultiprocessors) {
  EXPECT_EQ(weight_splits(16, 1 << 20, 1, h100), 17);    // 272 blocks
  EXPECT_EQ(weight_splits(1000, 1 << 20, 1, h100), 1);   // enough without
  EXPECT_EQ(weight_splits(16, 12, 1, h100), 1);          // parts would be too short
  EXPECT_EQ(weight_splits(1, 1 << 20, 1, h100), 64);     // and no more than 64
  EXPECT_EQ(weight_splits(1, 1 << 20, 4096, h100), 15);  // 65535 / 4096
}

}  // namespace
}  // namespace fovea
