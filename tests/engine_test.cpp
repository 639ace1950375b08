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

Tensor random_like(const Shape& shape) { return cases::random_tensor(shape, 77); }

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

// ---- what a backward adds in place

/// y = x, whose backward adds ten times dy to what there is; `took` counts how often there was something.
Tensor tenfold(const Tensor& x, int& took) {
  return record("tenfold", x.clone(), {x}, {}, [&took](const Node& node, const Tensor& dy) -> Gradients {
    Tensor sum = node.take_pending(0);
    took += bool(sum);
    const Tensor ten = Tensor::full({1}, 10.0, Dtype::f64);
    const Tensor own = multiply(dy, ten);
    if (!sum) return {own};
    for (std::int64_t i = 0; i < own.numel(); ++i) sum.data<double>()[i] += own.data<double>()[i];
    return {sum};
  });
}

TEST(Pending, SumsAreTheSameInAnyOrderOfReaders) {
  for (int first = 0; first < 3; ++first) {
    Tensor a = leaf({1, 2});
    const Tensor x = multiply(a, a);  // twice the same input, whose gradient is 2 a
    int took = 0;
    std::vector<Tensor> readers(3);
    for (int i = 0; i < 3; ++i) {
      const int reader = (first + i) % 3;
      readers[static_cast<std::size_t>(i)] = reader == 0 ? multiply(x, x) : tenfold(x, took);
    }
    add(add(readers[0], readers[1]), readers[2]).backward(ones(2));
    EXPECT_EQ(a.grad().to_doubles(), (Values{2 * (2 + 20), 4 * (8 + 20)})) << first;
    EXPECT_GE(took, 1) << first;
    EXPECT_LE(took, 2) << first;
  }
}

TEST(Pending, OfALeafAreThoseOfThisBackward) {
  Tensor a = leaf({1, 2});
  int took = 0;
  for (int backward = 1; backward <= 2; ++backward) {
    add(tenfold(a, took), tenfold(a, took)).backward(ones(2));
    EXPECT_EQ(took, backward);
    EXPECT_EQ(a.grad().to_doubles(), (Values{20.0 * backward, 20.0 * backward}));
  }
}

TEST(Pending, GradientsThatOthersHoldAreNotGivenOut) {
  Tensor a = leaf({1, 2});
  Tensor x = multiply(a, a), y = multiply(a, a);
  Tensor held;
  int took = 0;
  // The sum passes its gradient on to x and y in the same bytes.
  const Tensor sum = add(x, y);
  add(sum, tenfold(x, took)).backward(ones(2));
  EXPECT_EQ(a.grad().to_doubles(), (Values{2 * 12, 4 * 12}));
  // A hook that keeps the gradient so far of a tensor that passes it through.
  Tensor b = leaf({1, 2});
  const Tensor z = multiply(b, b);
  Tensor through =
      record("through", z.clone(), {z}, {}, [](const Node&, Tensor dy) -> Gradients { return {dy}; });
  through.register_hook([&](const Tensor& g) {
    held = g;
    return Tensor{};
  });
  took = 0;
  add(tenfold(z, took), through).backward(ones(2));
  EXPECT_EQ(held.to_doubles(), (Values{1, 1}));
  EXPECT_EQ(b.grad().to_doubles(), (Values{2 * 11, 4 * 11}));
}

TEST(Pending, HooksSeeTheWholeSum) {
  Tensor a = leaf({1, 2});
  Tensor x = multiply(a, a);
  Values seen;
  x.register_hook([&](const Tensor& g) {
    seen = g.to_doubles();
    return Tensor::full({2}, 1.0, Dtype::f64);
  });
  int took = 0;
  add(tenfold(x, took), tenfold(x, took)).backward(ones(2));
  EXPECT_EQ(seen, (Values{20, 20}));
  EXPECT_EQ(a.grad().to_doubles(), (Values{2, 4}));
}

TEST(Pending, WhatIsTakenAndNotReturnedIsAClearError) {
  Tensor a = leaf({1, 2});
  const Tensor x = multiply(a, a);
  const auto thief = [](const Tensor& t) {
    return record("thief", t.clone(), {t}, {}, [](const Node& node, const Tensor& dy) -> Gradients {
      node.take_pending(0);
      return {multiply(dy, dy)};
    });
  };
  EXPECT_NE(error_of([&] { add(thief(x), thief(x)).backward(ones(2)); }).find("'thief' took a gradient of 2"),
            std::string::npos);
}

// ---- functions that write into an image

struct Layer {
  Tensor gamma, beta, mean, var, filters;
  explicit Layer(std::int64_t in, std::int64_t out, std::uint64_t seed)
      : gamma(cases::random_tensor({in}, seed)),
        beta(cases::random_tensor({in}, seed + 1)),
        mean(Tensor::zeros({in}, Dtype::f64)),
        var(Tensor::full({in}, 1, Dtype::f64)),
        filters(cases::random_tensor({out, 3, 3, in}, seed + 2)) {
    for (Tensor* t : {&gamma, &beta, &filters}) t->set_requires_grad(true);
  }
  Tensor norm(const Tensor& x) const {
    return batch_norm(x, gamma, beta, mean, var,
                      {.activation = Activation::relu,
                       .first_channels = gamma.numel() == x.shape()[-1] ? 0 : gamma.numel()});
  }
  Tensor operator()(const Tensor& x, const Into& into = {}) const {
    return conv2d(norm(x), filters, {}, {.pad_h = 1, .pad_w = 1}, into);
  }
  std::vector<Values> gradients() {
    std::vector<Values> all;
    for (Tensor* t : {&gamma, &beta, &filters}) {
      all.push_back(t->grad().to_doubles());
      t->zero_grad();
    }
    return all;
  }
};

void expect_close(const Values& a, const Values& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12 * (1 + std::abs(b[i]))) << i;
}

// A dense block, with copies and without: the same values, and the same gradients.
TEST(Into, ADenseBlockIsThatOfConcatenations) {
  Tensor x = cases::random_tensor({2, 4, 5, 3}, 1), w0 = cases::random_tensor({4, 1, 1, 3}, 2);
  for (Tensor* t : {&x, &w0}) t->set_requires_grad(true);
  std::vector<Layer> layers;
  for (int i = 0; i < 3; ++i) layers.emplace_back(4 + 2 * i, 2, 10 * static_cast<std::uint64_t>(i + 1));
  const Layer last(10, 3, 50);
  const Tensor dy = cases::random_tensor({2, 4, 5, 3}, 9);
  std::vector<Values> expected, got;
  for (const bool copies : {true, false}) {
    Tensor image =
        copies ? conv2d(x, w0, {}) : conv2d(x, w0, {}, {}, {Tensor::zeros({2, 4, 5, 10}, Dtype::f64), 0});
    std::int64_t channels = 4;
    for (const Layer& layer : layers) {
      image = copies ? concat({image, layer(image)}) : layer(image, {image, channels});
      channels += 2;
    }
    const Tensor y = last(image);
    y.backward(dy);
    std::vector<Values>& all = copies ? expected : got;
    all = {y.to_doubles(), image.to_doubles(), x.grad().to_doubles(), w0.grad().to_doubles()};
    for (Layer& layer : layers) {
      for (const Values& g : layer.gradients()) all.push_back(g);
    }
    x.zero_grad();
    w0.zero_grad();
  }
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(i);
    expect_close(got[i], expected[i]);
  }
}

TEST(Into, AHookThatHoldsTheImagesGradientSeesItUnchanged) {
  Tensor x = cases::random_tensor({2, 3, 3, 2}, 1);
  x.set_requires_grad(true);
  Layer a(2, 2, 10), b(4, 1, 20);
  const Tensor one = cases::random_tensor({2, 1, 1, 2}, 3);
  Values plain;
  for (const bool hook : {false, true}) {
    Tensor image = conv2d(x, one, {}, {}, {Tensor::zeros({2, 3, 3, 4}, Dtype::f64), 0});
    image = a(image, {image, 2});
    Tensor held;
    Values then;
    if (hook)
      image.register_hook([&](const Tensor& g) {
        held = g;
        then = g.to_doubles();
        return Tensor{};
      });
    b(image).backward(cases::random_tensor({2, 3, 3, 1}, 4));
    if (hook) {
      EXPECT_EQ(held.to_doubles(), then);
      expect_close(x.grad().to_doubles(), plain);
    }
    plain = x.grad().to_doubles();
    x.zero_grad();
  }
}

TEST(Into, AReaderOfAllChannelsIsAClearErrorWhereMoreAreWrittenAfter) {
  Tensor x = cases::random_tensor({1, 3, 3, 2}, 1), w = cases::random_tensor({2, 1, 1, 2}, 2);
  w.set_requires_grad(true);
  const Tensor image = conv2d(x, w, {}, {}, {Tensor::zeros({1, 3, 3, 4}, Dtype::f64), 0});
  const Tensor early = multiply(image, image);
  conv2d(x, w, {}, {}, {image, 2});
  EXPECT_NE(error_of([&] { early.backward(image); }).find("changed in place"), std::string::npos);
}

TEST(Into, ReluOfASliceHasItsMask) {
  Tensor x = cases::random_tensor({2, 3, 4, 2}, 1), w = cases::random_tensor({3, 3, 3, 2}, 2);
  for (Tensor* t : {&x, &w}) t->set_requires_grad(true);
  const Conv2dOptions options{.pad_h = 1, .pad_w = 1, .activation = Activation::relu};
  const Tensor dy = cases::random_tensor({2, 3, 4, 3}, 3);
  conv2d(x, w, {}, options).backward(dy);
  const Values expected = x.grad().to_doubles();
  x.zero_grad();
  const Tensor image = conv2d(x, w, {}, options, {Tensor::zeros({2, 3, 4, 5}, Dtype::f64), 1});
  image.backward(concat({random_like({2, 3, 4, 1}), dy, random_like({2, 3, 4, 1})}));
  EXPECT_EQ(x.grad().to_doubles(), expected);
}

TEST(Into, ChannelsBeyondTheImageAndLeavesAreClearErrors) {
  Tensor x = cases::random_tensor({1, 3, 3, 2}, 1), w = cases::random_tensor({3, 1, 1, 2}, 2);
  const auto into = [&](const Tensor& image, std::int64_t begin) {
    return error_of([&] { conv2d(x, w, {}, {}, {image, begin}); });
  };
  Tensor image = Tensor::zeros({1, 3, 3, 4}, Dtype::f64);
  EXPECT_NE(into(image, 2).find("3 channels from 2 on do not lie in an image of 4 channels"),
            std::string::npos);
  EXPECT_NE(into(image, -1).find("3 channels from -1 on"), std::string::npos);
  EXPECT_NE(into(Tensor::zeros({1, 3, 2, 4}, Dtype::f64), 0).find("port 'y' has shape"), std::string::npos);
  EXPECT_NE(into(Tensor::zeros({9, 4}, Dtype::f64), 0).find("must be N,H,W,C"), std::string::npos);
  image.set_requires_grad(true);
  EXPECT_NE(into(image, 0).find("a leaf that requires a gradient"), std::string::npos);
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
