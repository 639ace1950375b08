// The fused ham: its results do not depend on the number of threads, and NaN and infinity do not get lost in
// it.
#include "kernels/ham/ham.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "harness.hpp"

namespace fovea {
namespace {

const Kernel& fused(const Primitive& primitive) {
  for (const Kernel& k : primitive.kernels) {
    if (std::string_view(k.name) == "fused") return k;
  }
  throw Error("ham has no fused kernel");
}

TEST(HamFused, DoesNotDependOnTheNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const cases::PrimitiveCase& c : cases::primitive_cases()) {
    if (c.primitive != &ham_forward && c.primitive != &ham_backward) continue;
    SCOPED_TRACE(c.primitive->name + std::string(", ") + c.label);
    const cases::PortTensors ports = testing::make_ports(c);
    omp_set_num_threads(1);
    const auto expected = testing::run_kernel(c, fused(*c.primitive), ports, Dtype::f32).raw;
    for (const int threads : {2, 3, 7}) {
      omp_set_num_threads(threads);
      EXPECT_EQ(testing::run_kernel(c, fused(*c.primitive), ports, Dtype::f32).raw, expected) << threads;
    }
  }
  omp_set_num_threads(before);
}

// One pixel of one image is NaN: the whole image is, through its channel gate, and no other.
TEST(HamFused, NanStaysInItsImage) {
  const HamProblem p{.n = 2, .h = 3, .w = 5, .c = 16, .hidden = 2};
  const auto random = [](const Shape& shape, std::uint64_t seed) {
    return cases::random_tensor(shape, seed, Dtype::f32);
  };
  const Tensor x = random(p.x_shape(), 1), y = Tensor::empty(p.x_shape(), Dtype::f32),
               s = Tensor::empty({2, 3, 5}, Dtype::f32), a = Tensor::empty({2, 16}, Dtype::f32),
               z = Tensor::empty({2, 2}, Dtype::f32), wgt = Tensor::empty({2, 16}, Dtype::f32);
  x.data<float>()[7 * 16 + 3] = std::numeric_limits<float>::quiet_NaN();
  SelectionScope scope;
  selection().force("ham.forward=fused");
  dispatch(ham_forward, p,
           {x.view(), random({16}, 2).view(), random({1}, 3).view(), random({2, 16}, 4).view(),
            random({2}, 5).view(), random({16, 2}, 6).view(), random({16}, 7).view(), y.view(), s.view(),
            a.view(), z.view(), wgt.view()});
  const std::int64_t image = p.pixels() * p.c;
  for (std::int64_t i = 0; i < 2 * image; ++i) {
    EXPECT_EQ(std::isnan(y.data<float>()[i]), i < image) << "element " << i;
  }
}

// Gates far beyond what exp can represent: sigmoid is 0 or 1 there, and the output x or 0, never NaN.
TEST(HamFused, LargeInputsSaturate) {
  const HamProblem p{.n = 1, .h = 4, .w = 4, .c = 16, .hidden = 1};
  const auto full = [](const Shape& shape, double v) { return Tensor::full(shape, v, Dtype::f32); };
  for (const double value : {1e4, -1e4, 1e30, -1e30}) {
    const Tensor x = full(p.x_shape(), value), y = full(p.x_shape(), 0), s = full({1, 4, 4}, 0),
                 a = full({1, 16}, 0), z = full({1, 1}, 0), wgt = full({1, 16}, 0);
    SelectionScope scope;
    selection().force("ham.forward=fused");
    dispatch(
        ham_forward, p,
        {x.view(), full({16}, 0).view(), full({1}, 1).view(), full({1, 16}, 0).view(), full({1}, 0).view(),
         full({16, 1}, 0).view(), full({16}, 0).view(), y.view(), s.view(), a.view(), z.view(), wgt.view()});
    const float expected = value > 0 ? static_cast<float>(value) : 0.0f;
    for (std::int64_t i = 0; i < y.numel(); ++i) EXPECT_EQ(y.data<float>()[i], expected);
  }
}

}  // namespace
}  // namespace fovea
