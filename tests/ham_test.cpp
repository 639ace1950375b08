// ham: the fused kernel's results do not depend on the number of threads; NaN and infinity do not get lost in any
// kernel; and the launch shapes of the CUDA kernels are what docs/performance.md counts on.
#include "kernels/ham/ham.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "autograd/functions.hpp"
#include "cases/ham.hpp"
#include "harness.hpp"
#include "kernels/ham/ham_shape.hpp"

namespace fovea {
namespace {

const Kernel& kernel_named(const Primitive& primitive, std::string_view name) {
  for (const Kernel& k : primitive.kernels) {
    if (name == k.name) return k;
  }
  throw Error("ham has no kernel of this name");
}

TEST(HamFused, DoesNotDependOnTheNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const cases::PrimitiveCase& c : cases::primitive_cases()) {
    if (c.primitive != &ham_forward && c.primitive != &ham_backward) continue;
    SCOPED_TRACE(c.primitive->name + std::string(", ") + c.label);
    const cases::PortTensors ports = testing::make_ports(c);
    omp_set_num_threads(1);
    const auto expected = testing::run_kernel(c, kernel_named(*c.primitive, "fused"), ports, Dtype::f32).raw;
    for (const int threads : {2, 3, 7}) {
      omp_set_num_threads(threads);
      EXPECT_EQ(testing::run_kernel(c, kernel_named(*c.primitive, "fused"), ports, Dtype::f32).raw, expected)
          << threads;
    }
  }
  omp_set_num_threads(before);
}

// The kernels that run here, each with every dtype that it supports for this problem.
template <class F>
void for_each_kernel(const Primitive& primitive, HamProblem p, F&& f) {
  for (const Kernel& k : primitive.kernels) {
    if (device_of(k.backend) != Device::cpu) continue;
    for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
      p.dtype = dtype;
      if (!k.supports(&p)) continue;
      SCOPED_TRACE(std::string(k.name) + ", " + std::string(name_of(dtype)));
      f(k, p);
    }
  }
}

// Tensors for the ports, converted to what the problem holds; the last ones are outputs.
std::vector<Tensor> tensors_for(const Primitive& primitive, const HamProblem& p,
                                const std::vector<Tensor>& given) {
  std::vector<Tensor> tensors;
  for (const PortSpec& spec : primitive.ports(&p)) {
    const std::size_t i = tensors.size();
    tensors.push_back(i < given.size() ? given[i].to(spec.dtype) : Tensor::zeros(spec.shape, spec.dtype));
  }
  return tensors;
}

std::vector<Tensor> run(const Primitive& primitive, const Kernel& kernel, const HamProblem& p,
                        const std::vector<Tensor>& given) {
  const std::vector<Tensor> tensors = tensors_for(primitive, p, given);
  std::vector<View> views;
  for (const Tensor& t : tensors) views.push_back(t.view());
  kernel.run(&p, views, {});
  return tensors;
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// One pixel of one image is NaN: the whole image is, through its channel gate, and no other.
TEST(Ham, NanStaysInItsImage) {
  const auto random = [](const Shape& shape, std::uint64_t seed) {
    return cases::random_tensor(shape, seed);
  };
  for (const std::int64_t c : {16, 21}) {
    const HamProblem problem{.n = 2, .h = 3, .w = 5, .c = c, .hidden = 2};
    const Tensor x = random(problem.x_shape(), 1);
    x.data<double>()[7 * c + 3] = nan;
    for_each_kernel(ham_forward, problem, [&](const Kernel& kernel, const HamProblem& p) {
      if (std::string_view(kernel.name) == "composed") return;  // the library's ReLU turns NaN into 0
      const auto y = run(ham_forward, kernel, p,
                         {x, random({c}, 2), random({1}, 3), random({2, c}, 4), random({2}, 5),
                          random({c, 2}, 6), random({c}, 7)})[7]
                         .to_doubles();
      for (std::int64_t i = 0; i < 2 * p.pixels() * c; ++i) {
        EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i < p.pixels() * c) << "element " << i;
      }
    });
  }
}

// One element of dy of one image is NaN: its pixel of dx is, through ds, and the rest of its image through dA; no
// other image. Every parameter's gradient is.
TEST(Ham, NanOfTheGradientStaysInItsImage) {
  const auto random = [](const Shape& shape, std::uint64_t seed) {
    return cases::random_tensor(shape, seed);
  };
  const auto full = [](const Shape& shape) { return Tensor::full(shape, 0.5, Dtype::f64); };
  for (const std::int64_t c : {16, 21}) {
    const HamProblem problem{.n = 2, .h = 3, .w = 5, .c = c, .hidden = 2};
    const Tensor dy = random(problem.x_shape(), 2);
    dy.data<double>()[7 * c + 3] = nan;
    for_each_kernel(ham_backward, problem, [&](const Kernel& kernel, const HamProblem& p) {
      const auto out = run(ham_backward, kernel, p,
                           {random(p.x_shape(), 1), dy, random({c}, 3), random({2, c}, 4), random({c, 2}, 5),
                            full({2, 3, 5}), full({2, c}), full({2, 2}), full({2, c})});
      const auto dx = out[9].to_doubles();
      for (std::int64_t i = 0; i < 2 * p.pixels() * c; ++i) {
        EXPECT_EQ(std::isnan(dx[static_cast<std::size_t>(i)]), i < p.pixels() * c) << "element " << i;
      }
      for (const std::size_t port : {10, 11, 12, 13})
        EXPECT_TRUE(std::isnan(out[port].to_doubles()[0])) << port;
    });
  }
}

// Gates far beyond what exp can represent: sigmoid is 0 or 1 there, and the output x or 0, never NaN.
TEST(Ham, LargeInputsSaturate) {
  const auto full = [](const Shape& shape, double v) { return Tensor::full(shape, v, Dtype::f64); };
  for (const double value : {1e4, -1e4, 1e30, -1e30}) {
    const HamProblem problem{.n = 1, .h = 4, .w = 4, .c = 16, .hidden = 1};
    for_each_kernel(ham_forward, problem, [&](const Kernel& kernel, const HamProblem& p) {
      const auto out = run(ham_forward, kernel, p,
                           {full(p.x_shape(), value), full({16}, 0), full({1}, 1), full({1, 16}, 0),
                            full({1}, 0), full({16, 1}, 0), full({16}, 0)});
      const auto x = out[0].to_doubles(), y = out[7].to_doubles();
      for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], value > 0 ? x[i] : 0.0);
    });
  }
}

// Where the gate is saturated its slope is zero: dx is dy or 0.
TEST(Ham, GradientsOfLargeInputsAreFinite) {
  const auto full = [](const Shape& shape, double v) { return Tensor::full(shape, v, Dtype::f64); };
  for (const double value : {1e4, -1e4, 1e15, -1e15}) {
    const HamProblem problem{.n = 1, .h = 4, .w = 4, .c = 16, .hidden = 1};
    for_each_kernel(ham_backward, problem, [&](const Kernel& kernel, const HamProblem& p) {
      const auto dx = run(ham_backward, kernel, p,
                          {full(p.x_shape(), value), full(p.x_shape(), 0.75), full({16}, 1), full({1, 16}, 1),
                           full({16, 1}, 1), full({1, 4, 4}, 0.5), full({1, 16}, 1), full({1, 1}, 1),
                           full({1, 16}, 0.5)})[9]
                          .to_doubles();
      for (const double v : dx) EXPECT_NEAR(v, value > 0 ? 0.75 : 0.0, 1e-3);
    });
  }
}

// ---- other machines

// On machines whose blocks hold little, whose cache holds an image or none, whose clusters are single blocks, the
// launchers cut small problems as they cut large ones on a real one: several blocks to an image, several groups.
class HamOnOtherMachines : public ::testing::TestWithParam<simt::Limits> {
 protected:
  void SetUp() override { simt::set_limits(GetParam()); }
  void TearDown() override { simt::set_limits(before_); }

 private:
  simt::Limits before_ = simt::limits();
};

TEST_P(HamOnOtherMachines, KernelsAgreeWithTheReference) {
  const HamProblem problems[] = {{.n = 5, .h = 7, .w = 9, .c = 32, .hidden = 2},
                                 {.n = 3, .h = 5, .w = 5, .c = 37, .hidden = 3},
                                 {.n = 2, .h = 1, .w = 3, .c = 600, .hidden = 5}};
  int ran = 0;
  for (const HamProblem& problem : problems) {
    for (const PrimitiveOf<HamProblem>* primitive : {&ham_forward, &ham_backward}) {
      const auto prepare =
          primitive == &ham_forward ? cases::prepare_ham_forward : cases::prepare_ham_backward;
      const cases::PrimitiveCase c = cases::make_case(*primitive, "other machine", problem, {prepare});
      const cases::PortTensors ports = testing::rounded_ports(c, testing::make_ports(c), Dtype::bf16);
      const auto expected = testing::run_kernel(c, kernel_named(*primitive, "reference"), ports, Dtype::f64);
      for (const Kernel& kernel : primitive->kernels) {
        if (kernel.backend != Backend::simt) continue;
        for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
          if (!kernel.supports(c.problem(dtype).get())) continue;
          SCOPED_TRACE(kernel.name + std::string(", ") + std::string(name_of(dtype)) + ", " +
                       to_string(problem.x_shape()));
          const auto got = testing::run_kernel(c, kernel, ports, dtype);
          EXPECT_EQ(got.damage, "");
          for (std::size_t i = 0; i < got.outputs.size(); ++i) {
            if (got.outputs[i].empty()) continue;
            EXPECT_LE(testing::relative_error(got.outputs[i], expected.outputs[i]),
                      dtype == Dtype::bf16 ? 5e-3 : 2e-5)
                << "port " << i;
          }
          ++ran;
        }
      }
    }
  }
  EXPECT_GE(ran, 18);  // two_pass in three dtypes, for each problem and direction
}

INSTANTIATE_TEST_SUITE_P(Machines, HamOnOtherMachines,
                         ::testing::Values(simt::Limits{40 << 10, 8, 90, 132, 12 << 10},
                                           simt::Limits{163 << 10, 1, 80, 108, 30 << 10},
                                           simt::Limits{48 << 10, 2, 90, 64, 1 << 10}));

// ---- launch shapes

constexpr simt::Limits h100{227 << 10, 16, 90, 132}, a100{163 << 10, 1, 80, 108, 40 << 20};

HamProblem model_shape(Dtype dtype, std::int64_t n, std::int64_t side, std::int64_t c) {
  return {.dtype = dtype, .n = n, .h = side, .w = side, .c = c, .hidden = c / 16};
}

TEST(HamClusterShape, HoldsTheImageOfEachBlockOfTheModel) {
  struct Expected {
    HamProblem problem;
    int cluster, pixels, forward_threads, backward_threads;
  };
  const Expected all[] = {
      {model_shape(Dtype::bf16, 32, 56, 256), 8, 392, 512, 512},
      {model_shape(Dtype::bf16, 32, 28, 512), 4, 196, 256, 256},
      {model_shape(Dtype::bf16, 200, 14, 512), 1, 196, 256, 256},  // one block is enough
      {model_shape(Dtype::bf16, 32, 14, 512), 4, 49, 512, 512},    // but 128 run side by side
      {model_shape(Dtype::bf16, 8, 14, 512), 8, 25, 256, 256},
      {model_shape(Dtype::f32, 32, 56, 256), 16, 196, 512, 256},
      {model_shape(Dtype::f32, 32, 28, 512), 8, 98, 256, 256},
  };
  for (const Expected& e : all) {
    for (const HamDirection direction : {HamDirection::forward, HamDirection::backward}) {
      SCOPED_TRACE(to_string(e.problem.x_shape()) + " " + std::string(name_of(e.problem.dtype)) +
                   (direction == HamDirection::forward ? " forward" : " backward"));
      const auto shape = ham_cluster_shape(e.problem, h100, direction);
      ASSERT_TRUE(shape.has_value());
      EXPECT_EQ(shape->cluster, e.cluster);
      EXPECT_EQ(shape->pixels_per_block, e.pixels);
      EXPECT_EQ(shape->threads, direction == HamDirection::forward ? e.forward_threads : e.backward_threads);
      const auto tile = static_cast<std::size_t>(e.pixels * e.problem.c * size_of(e.problem.dtype));
      EXPECT_GE(shape->shared_bytes, tile);
      EXPECT_LE(shape->shared_bytes, h100.shared_per_block);
    }
  }
}

TEST(HamClusterShape, BytesOfTheTileAreThoseOfTheImage) {
  const auto shape = ham_cluster_shape(model_shape(Dtype::bf16, 32, 56, 256), h100, HamDirection::forward);
  // 392 pixels of 512 bytes; S; 16 warps' channel sums; sum, mean and W; 16 hidden units
  EXPECT_EQ(shape.value().shared_bytes, 200704u + 4 * (392 + 16 * 256 + 3 * 256 + 16));
}

TEST(HamClusterShape, NoneWhereTheImageDoesNotFit) {
  EXPECT_FALSE(ham_cluster_shape(model_shape(Dtype::bf16, 1, 112, 512), h100, HamDirection::forward));
  EXPECT_FALSE(ham_cluster_shape(model_shape(Dtype::f64, 1, 56, 256), h100, HamDirection::backward));
  EXPECT_FALSE(ham_cluster_shape(model_shape(Dtype::bf16, 32, 28, 512), a100, HamDirection::forward));
  EXPECT_FALSE(ham_cluster_shape(model_shape(Dtype::bf16, 1, 4, 1024), h100, HamDirection::backward))
      << "a warp keeps 512 channels in registers";
  EXPECT_EQ(ham_cluster_shape(model_shape(Dtype::bf16, 32, 7, 512), a100, HamDirection::forward)->cluster, 1);
}

TEST(HamClusterShape, BlocksShareAnImageWhereSharedMemoryIsSmall) {
  const simt::Limits small{8 << 10, 16, 90, 4};
  const HamProblem p{.dtype = Dtype::f32, .n = 3, .h = 7, .w = 9, .c = 32, .hidden = 2};  // 8064 bytes
  const auto shape = ham_cluster_shape(p, small, HamDirection::forward);
  ASSERT_TRUE(shape.has_value());
  EXPECT_EQ(shape->cluster, 2);
  EXPECT_EQ(shape->pixels_per_block, 32);
}

TEST(HamTwoPassShape, AGroupFitsTheWindowAndItsPartsCoverTheImage) {
  for (const HamDirection direction : {HamDirection::forward, HamDirection::backward}) {
    for (const HamProblem& p : {model_shape(Dtype::bf16, 32, 56, 256), model_shape(Dtype::f32, 32, 28, 512),
                                model_shape(Dtype::bf16, 3, 224, 64), model_shape(Dtype::f64, 2, 1, 16),
                                model_shape(Dtype::f32, 1, 1024, 512)}) {
      const HamTwoPassShape shape = ham_two_pass_shape(p, a100, direction);
      SCOPED_TRACE(to_string(p.x_shape()));
      const std::int64_t bytes =
          p.pixels() * p.c * size_of(p.dtype) * (direction == HamDirection::forward ? 1 : 2);
      EXPECT_TRUE(shape.images == 1 || shape.images * bytes <= (20 << 20));
      EXPECT_LE(shape.images, p.n);
      EXPECT_GE(std::int64_t{shape.parts} * shape.pixels_per_part, p.pixels());
      EXPECT_LT(std::int64_t{shape.parts - 1} * shape.pixels_per_part, p.pixels());
    }
  }
}

}  // namespace
}  // namespace fovea
