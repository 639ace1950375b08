// The engine: accumulation, shared subgraphs, hooks, no_grad, freeing, and the errors of a second or double
// backward.
#include <gtest/gtest.h>

#include "autograd/engine.hpp"
#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using Values = std::vector<double>;

Tensor leaf(const Values& values) {
  Tensor t = Tensor::from<double>(values, {static_cast<std::int64_t>(values.size())}, Dtype::f64);
  return t.set_requires_grad(true);
}
Tensor ones(std::int64_t n) { return Tensor::full({n}, 1.0, Dtype::f64); }

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Engine, AccumulatesWhereATensorIsUsedTwiceOnTheLeft) {
  Tensor a = leaf({1, 2}), b = leaf({3, 4});
  add(add(a, b), a).backward(ones(2));
  EXPECT_EQ(a.grad().to_doubles(), (Values{2, 2}));
  EXPECT_EQ(b.grad().to_doubles(), (Values{1, 1}));
}

TEST(Engine, AccumulatesWhereATensorIsUsedTwiceOnTheRight) {
  Tensor a = leaf({1, 2}), b = leaf({3, 4});
  add(a, add(a, b)).backward(ones(2));
  EXPECT_EQ(a.grad().to_doubles(), (Values{2, 2}));
  EXPECT_EQ(b.grad().to_doubles(), (Values{1, 1}));
}

TEST(Engine, SharedSubgraphRunsOnce) {
  Tensor a = leaf({2, -3});
  Tensor shared = multiply(a, a);
  int calls = 0;
  shared.register_hook([&](const Tensor&) {
    ++calls;
    return Tensor{};
  });
  add(multiply(shared, shared), shared).backward(ones(2));  // a^4 + a^2
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(a.grad().to_doubles(), (Values{4 * 8 + 4, 4 * -27 - 6}));
}

TEST(Engine, GradientsAddUpOverBackwards) {
  Tensor a = leaf({2});
  multiply(a, a).backward(ones(1));
  multiply(a, a).backward(ones(1));
  EXPECT_EQ(a.grad().to_doubles(), (Values{8}));
  a.zero_grad();
  EXPECT_FALSE(bool(a.grad()));
}

// The same gradient tensor reaches both leaves; adding to one must not change the other.
TEST(Engine, NeverAddsIntoABufferItDoesNotOwnAlone) {
  Tensor a = leaf({1}), b = leaf({1}), seed = ones(1);
  add(a, b).backward(seed);
  add(a, a).backward(seed);
  EXPECT_EQ(a.grad().to_doubles(), (Values{3}));
  EXPECT_EQ(b.grad().to_doubles(), (Values{1}));
  EXPECT_EQ(seed.to_doubles(), (Values{1}));
}

TEST(Engine, AGradientTheUserHoldsIsNotWrittenTo) {
  Tensor a = leaf({1});
  Tensor held;
  multiply(a, a).backward(ones(1));
  held = a.grad();
  multiply(a, a).backward(ones(1));
  EXPECT_EQ(held.to_doubles(), (Values{2}));
  EXPECT_EQ(a.grad().to_doubles(), (Values{4}));
}

TEST(Engine, HooksSeeAndReplaceIntermediateGradients) {
  Tensor a = leaf({3});
  Tensor y = multiply(a, a);
  Values seen;
  y.register_hook([&](const Tensor& g) {
    seen = g.to_doubles();
    return Tensor::full({1}, 10.0, Dtype::f64);
  });
  add(y, y).backward(ones(1));
  EXPECT_EQ(seen, (Values{2}));
  EXPECT_EQ(a.grad().to_doubles(), (Values{60}));
}

TEST(Engine, NoGradRecordsNothing) {
  Tensor a = leaf({3});
  {
    NoGrad no_grad;
    EXPECT_FALSE(multiply(a, a).requires_grad());
  }
  EXPECT_TRUE(multiply(a, a).requires_grad());
}

TEST(Engine, InputsThatNeedNoGradientGetNone) {
  Tensor a = leaf({3}), constant = ones(1);
  multiply(a, constant).backward(ones(1));
  EXPECT_TRUE(bool(a.grad()));
  EXPECT_FALSE(bool(constant.grad()));
}

TEST(Engine, ASecondBackwardIsAClearError) {
  Tensor a = leaf({3});
  Tensor y = multiply(a, a);
  y.backward(ones(1));
  EXPECT_NE(error_of([&] { y.backward(ones(1)); }).find("backward through 'multiply' a second time"),
            std::string::npos);
}

TEST(Engine, ADoubleBackwardIsAClearError) {
  Tensor a = leaf({3});
  multiply(a, a).backward(ones(1));
  EXPECT_NE(error_of([&] { a.grad().backward(ones(1)); }).find("no double backward"), std::string::npos);
}

TEST(Engine, AnInPlaceChangeOfASavedTensorIsAClearError) {
  Tensor a = leaf({3});
  Tensor y = multiply(a, a);
  a.fill(5);
  EXPECT_NE(error_of([&] { y.backward(ones(1)); }).find("changed in place"), std::string::npos);
}

TEST(Engine, ABackwardOfManyElementsNeedsASeedOfTheirShape) {
  Tensor a = leaf({3, 4});
  Tensor y = multiply(a, a);
  EXPECT_NE(error_of([&] { y.backward(); }).find("needs a gradient to start from"), std::string::npos);
  EXPECT_NE(error_of([&] { y.backward(ones(1)); }).find("seed"), std::string::npos);
}

TEST(Engine, FreesSavedTensorsAsItGoes) {
  reset_peak_memory();
  Tensor x = cases::random_tensor({1 << 16}, 1);
  x.set_requires_grad(true);
  const std::int64_t before = memory_use().current;
  Tensor y = x;
  for (int i = 0; i < 50; ++i) y = sigmoid(y);
  const std::int64_t with_graph = memory_use().current;
  Tensor last = y;
  y = {};
  last.backward(Tensor::full({1 << 16}, 1.0, Dtype::f64));
  const std::int64_t one = (1 << 16) * 8;
  EXPECT_GE(with_graph - before, 49 * one);
  EXPECT_LE(memory_use().current - before, 3 * one) << "only the output and the leaf's gradient stay";
  EXPECT_LE(memory_use().peak - with_graph, 4 * one) << "gradients do not pile up";
}

TEST(Engine, ALongGraphNeitherOverflowsInBackwardNorInRelease) {
  for (const bool backward : {true, false}) {
    Tensor a = leaf({1});
    Tensor y = a;
    for (int i = 0; i < 100000; ++i) y = add(y, a);
    if (backward) {
      y.backward(ones(1));
      EXPECT_EQ(a.grad().to_doubles(), (Values{100001}));
    }
  }
}

TEST(Engine, AWrongGradientShapeNamesTheNode) {
  Tensor a = leaf({1, 2});
  Tensor y = record("strange", ones(2), {a}, {}, [](const Node&, Tensor) -> Gradients { return {ones(3)}; });
  EXPECT_NE(error_of([&] { y.backward(ones(2)); }).find("'strange' returned a gradient of 3"),
            std::string::npos);
}

TEST(Engine, CountsWhatItSaved) {
  Tensor a = leaf({1, 2, 3}), b = leaf({4, 5, 6});
  const Tensor product = multiply(a, b);        // saves both
  const Tensor y = multiply(product, product);  // saves the product, twice
  const std::int64_t bytes = 3 * static_cast<std::int64_t>(sizeof(double));
  EXPECT_EQ(saved_bytes(y), 3 * bytes);
  EXPECT_EQ(saved_bytes(y, {a, b}), bytes);
  EXPECT_EQ(saved_bytes(a), 0);
}

TEST(Engine, CastsThereAndBack) {
  Tensor a = Tensor::from<double>(Values{1, 1.0 / 3}, {2}, Dtype::f32);
  a.set_requires_grad(true);
  const Tensor y = cast(a, Dtype::bf16);
  EXPECT_EQ(y.dtype(), Dtype::bf16);
  EXPECT_EQ(y.to_doubles(), (Values{1, 0.333984375}));
  y.backward(Tensor::full({2}, 1.0 / 3, Dtype::bf16));
  EXPECT_EQ(a.grad().dtype(), Dtype::f32);
  EXPECT_EQ(a.grad().to_doubles(), (Values{0.333984375, 0.333984375}));
  EXPECT_EQ(cast(a, Dtype::f32).storage(), a.storage());
}

}  // namespace
}  // namespace fovea
