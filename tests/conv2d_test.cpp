// What the generic kernel checks do not see of conv2d: the launch shapes of the depthwise kernels, which problems take
// them, and that the number of threads changes no bit.
#include "kernels/conv2d/conv2d.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/conv2d/conv2d_depthwise_shape.hpp"

namespace fovea {
namespace {

const simt::Limits h100{
    .shared_per_block = 227 * 1024, .max_cluster = 16, .architecture = 90, .multiprocessors = 132};

TEST(DepthwiseShape, CoversEveryOutputOnce) {
  for (const std::int64_t channels : {2, 3, 20, 37, 96, 768, 1000}) {
    for (const int vector : {1, 2, 4, 8}) {
      if (channels % vector != 0) continue;
      for (const std::int64_t columns : {1, 7, 8, 9, 56}) {
        const DepthwiseStrips s = depthwise_strips(8 * 7, columns, channels, vector);
        EXPECT_EQ(s.lanes & (s.lanes - 1), 0);
        EXPECT_LE(s.lanes, DepthwiseStrips::most_lanes);
        EXPECT_GE(std::int64_t{s.tiles} * s.lanes * vector, channels);
        EXPECT_LT(std::int64_t{s.tiles - 1} * s.lanes * vector, channels);
        EXPECT_GE(s.per_row * depthwise_outputs(vector), columns);
        EXPECT_LT((s.per_row - 1) * depthwise_outputs(vector), columns);
        EXPECT_EQ(s.count, 8 * 7 * s.per_row);
        EXPECT_GE(depthwise_blocks(s, h100), 1);
        for (const int units : {1, 7, 9, 72}) {
          const DepthwiseParts p = depthwise_parts(s, units, depthwise_outputs(vector), h100);
          EXPECT_GE(p.warps * p.groups, units);
          EXPECT_LE(p.warps, 8);
          EXPECT_GE(p.parts * p.strips_per_part, s.count);
          EXPECT_LT((p.parts - 1) * p.strips_per_part, s.count);  // none is empty
        }
      }
    }
  }
}

TEST(DepthwiseShape, KeepsSumsShortAndTheMachineBusy) {
  const DepthwiseStrips wide = depthwise_strips(8 * 56, 56, 96, 4);
  EXPECT_EQ(wide.lanes, 8);
  EXPECT_EQ(wide.tiles, 3);
  EXPECT_EQ(depthwise_parts(wide, 7, 8, h100).parts, 88);  // two blocks for each multiprocessor
  const DepthwiseStrips many = depthwise_strips(100000, 112, 2, 1);
  const DepthwiseParts p = depthwise_parts(many, 9, 8, h100);
  EXPECT_LE(p.strips_per_part * 8 / (32 / many.lanes), 256);
  EXPECT_EQ(depthwise_strips(4, 4, 12, 1).lanes, 4);  // no lane is idle
  EXPECT_EQ(depthwise_strips(4, 4, 13, 1).lanes, 8);
}

const Kernel& chosen(const Conv2dProblem& p) { return selection().choose(conv2d_forward, &p, Device::cpu); }

TEST(Depthwise, IsTakenWhereEveryChannelHasAFilterOfItsOwn) {
  Conv2dProblem p{.h = 9, .w = 9, .c = 8, .k = 8, .r = 3, .s = 3, .groups = 8};
  EXPECT_STREQ(chosen(p).name, "depthwise");
  p.groups = 4;
  EXPECT_STREQ(chosen(p).name, "onednn");
  p.groups = 8;
  p.k = 16;
  EXPECT_STREQ(chosen(p).name, "onednn");
  p = {.h = 9, .w = 9};
  EXPECT_STREQ(chosen(p).name, "onednn");
}

TEST(Depthwise, ThreadsDoNotChangeAnyBit) {
  std::vector<std::vector<double>> results;
  const int before = omp_get_max_threads();
  for (const int threads : {1, 3}) {
    omp_set_num_threads(threads);
    Tensor x = cases::random_tensor({3, 21, 30, 40}, 1, Dtype::f32).set_requires_grad(true);
    Tensor w = cases::random_tensor({40, 7, 7, 1}, 2, Dtype::f32).set_requires_grad(true);
    Tensor b = cases::random_tensor({40}, 3, Dtype::f32).set_requires_grad(true);
    const Tensor y = conv2d(x, w, b, {.pad_h = 3, .pad_w = 3, .groups = 40});
    y.backward(cases::random_tensor(y.shape(), 4, Dtype::f32));
    std::vector<double> all;
    for (const Tensor& t : {y, x.grad(), w.grad(), b.grad()}) {
      for (const double v : t.to_doubles()) all.push_back(v);
    }
    results.push_back(all);
  }
  omp_set_num_threads(before);
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace fovea
