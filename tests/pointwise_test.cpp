// What the generic kernel and gradient checks do not see of pointwise, rows, concat and loss: PyTorch's
// numbers, the promised aliasing, dropout's mapping, independence of the number of threads, and every
// refusal.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "cases/pointwise.hpp"
#include "cases/rows.hpp"
#include "kernels/concat/concat.hpp"
#include "kernels/loss/loss.hpp"

namespace fovea {
namespace {

using cases::random_tensor;
using cases::row_indices;

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

#define EXPECT_MESSAGE(statement, part)                          \
  do {                                                           \
    const std::string message = message_of([&] { statement; });  \
    EXPECT_NE(message.find(part), std::string::npos) << message; \
  } while (false)

TEST(CrossEntropy, EqualsTorch) {
  struct Golden {
    double smoothing;
    bool weighted;
    double loss;
    std::vector<double> gradient;
  };
  // torch.nn.functional.cross_entropy 1.13, fp64.
  const std::vector<Golden> goldens{
      {0,
       false,
       2.403778006640033,
       {-0.09906277596284355, 0.007514721892393506, 0.09154805407045005, 0.014767439398127559,
        0.23100161837696673, -0.2457690577750943, 0.010996620073014461, -0.23186963857981308,
        0.22087301850679858, 0.06118211776369941, 0.16631023894370545, -0.2274923567074049}},
      {0,
       true,
       2.7216694150440954,
       {-0.03962511038513742, 0.0030058887569574025, 0.03661922162818002, 0.014767439398127559,
        0.23100161837696673, -0.2457690577750943, 0.017594592116823137, -0.37099142172770094,
        0.35339682961087776, 0.06118211776369941, 0.16631023894370545, -0.2274923567074049}},
      {0.1,
       false,
       2.347528006640033,
       {-0.08239610929617688, -0.0008186114409398275, 0.08321472073711672, 0.006434106064794226,
        0.2226682850436334, -0.22910239110842764, 0.002663286739681128, -0.2152029719131464,
        0.21253968517346525, 0.05284878443036608, 0.15797690561037211, -0.21082569004073823}},
      {0.1,
       true,
       2.627380274203689,
       {-0.02390221027624136, -0.00987656126283232, 0.03377877153907369, 0.011434106064794225,
        0.21766828504363336, -0.22910239110842762, 0.013601461579108937, -0.3454125767462454,
        0.33181111516713646, 0.05784878443036607, 0.15297690561037208, -0.2108256900407382}},
  };
  const std::vector<double> z{1, -2, 0.5, 0.25, 3, -1, -0.5, 0, 2.5, 100, 101, 99}, w{0.5, 2, 1.25};
  for (const Golden& golden : goldens) {
    Tensor logits = Tensor::from<double>(z, {4, 3}, Dtype::f64).set_requires_grad(true);
    CrossEntropyOptions options{.label_smoothing = golden.smoothing, .class_weights = {}};
    if (golden.weighted) options.class_weights = Tensor::from<double>(w, {3}, Dtype::f64);
    const Tensor loss = cross_entropy(logits, row_indices({0, 2, 1, 2}), options);
    EXPECT_NEAR(loss.item(), golden.loss, 1e-14);
    loss.backward();
    const std::vector<double> gradient = logits.grad().to_doubles();
    for (std::size_t i = 0; i < gradient.size(); ++i)
      EXPECT_NEAR(gradient[i], golden.gradient[i], 1e-15) << i;
  }
}

TEST(CrossEntropy, RefusesNonsense) {
  const Tensor logits = random_tensor({2, 3}, 1);
  const auto weights = [](double w) { return Tensor::full({3}, w, Dtype::f64); };
  EXPECT_MESSAGE(cross_entropy(logits, row_indices({0, 7})), "label 7 in row 1 lies outside 0..2");
  EXPECT_MESSAGE(cross_entropy(logits, row_indices({-1, 0})), "label -1 in row 0");
  EXPECT_MESSAGE(cross_entropy(logits, row_indices({1})), "port 'labels' has shape 1, needs 2");
  EXPECT_MESSAGE(cross_entropy(logits, row_indices({1, 1}), {1.5, {}}), "label smoothing 1.5");
  EXPECT_MESSAGE(cross_entropy(logits, row_indices({1, 1}), {0, weights(-2)}), "class weight -2 of class 0");
  EXPECT_MESSAGE(cross_entropy(logits, row_indices({1, 1}), {0, weights(0)}), "class weight 0, so the mean");
  EXPECT_MESSAGE(cross_entropy(random_tensor({3}, 1), row_indices({1, 1, 0})), "needs logits of N,K, got 3");
}

TEST(Rows, RefuseIndicesThatDoNotFit) {
  const Tensor x = random_tensor({3, 2}, 1);
  for (const char* kernel : {"cpu", "reference"}) {
    SelectionScope scope;
    selection().force(std::string("rows=") + kernel);
    EXPECT_MESSAGE(gather_rows(x, row_indices({0, 3})), "index 3 at position 1 lies outside 0..2");
    EXPECT_MESSAGE(gather_rows(x, row_indices({-1})), "index -1 at position 0");
    EXPECT_MESSAGE(scatter_rows(x, row_indices({0, 1, 5}), 5), "index 5 at position 2 lies outside 0..4");
    EXPECT_MESSAGE(scatter_rows(x, row_indices({4, 1, 4}), 5), "index 4 occurs twice");
  }
  EXPECT_MESSAGE(scatter_rows(x, row_indices({0, 1}), 5), "port 'x' has shape 3x2, needs 2x2");
  EXPECT_MESSAGE(gather_rows(x, random_tensor({2}, 1)), "vector of i64");
}

// A kernel of a device cannot throw.
TEST(Rows, OutsideAreNanOrPassedOverByTheCudaKernels) {
  const Tensor x = random_tensor({3, 2}, 1);
  SelectionScope scope;
  selection().force("rows=vector");
  const std::vector<double> got = gather_rows(x, row_indices({0, 3, -1})).to_doubles();
  EXPECT_EQ(got[0], x.to_doubles()[0]);
  for (std::size_t i = 2; i < 6; ++i) EXPECT_TRUE(std::isnan(got[i]));
  const std::vector<double> put = scatter_rows(x, row_indices({1, 7, -1}), 2).to_doubles();
  EXPECT_EQ(put, (std::vector<double>{0, 0, x.to_doubles()[0], x.to_doubles()[1]}));
}

TEST(Shapes, ThatDoNotFitAreRefused) {
  const Tensor a = random_tensor({2, 3}, 1);
  EXPECT_MESSAGE(add(a, random_tensor({2}, 1)), "shapes 2x3 and 2 do not broadcast");
  EXPECT_MESSAGE(multiply(a, random_tensor({2, 4}, 1)), "shapes 2x3 and 2x4 do not broadcast");
  EXPECT_MESSAGE(add(a, random_tensor({2, 3}, 1, Dtype::f32)), "port 'b' holds f32, needs f64");
  EXPECT_MESSAGE(concat({a, random_tensor({3, 3}, 1)}), "3x3 does not fit beside 2x3");
  EXPECT_MESSAGE(concat({}), "takes 1 to 8 tensors, got 0");
  EXPECT_MESSAGE(concat(std::vector<Tensor>(9, a)), "takes 1 to 8 tensors, got 9");
  EXPECT_MESSAGE(reshape(a, {4}), "cannot view 2x3 as 4");
  EXPECT_MESSAGE(linear(a, random_tensor({4, 2}, 1), {}), "port 'w' has shape 4x2, needs 4x3");
  EXPECT_MESSAGE(dropout(a, 1.5, 1, 1), "probability 1.5");
}

TEST(Relu, PassesNanAndBlocksZero) {
  Tensor x = Tensor::from<double>(std::vector<double>{std::nan(""), -1, 0, 2}, {4}, Dtype::f32);
  x.set_requires_grad(true);
  const Tensor y = relu(x);
  EXPECT_TRUE(std::isnan(y.to_doubles()[0]));
  y.backward(Tensor::full({4}, 3, Dtype::f32));
  EXPECT_EQ(x.grad().to_doubles(), (std::vector<double>{3, 0, 0, 3}));
}

TEST(Sigmoid, StaysFiniteFarOut) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    const Tensor x =
        Tensor::from<double>(std::vector<double>{-infinity, -1000, 0, 1000, infinity}, {5}, dtype);
    const std::vector<double> y = sigmoid(x).to_doubles();
    EXPECT_LT(y[0], 1e-37);
    EXPECT_LT(y[1], 1e-37);
    EXPECT_EQ(std::vector<double>(y.begin() + 2, y.end()), (std::vector<double>{0.5, 1, 1}));
  }
}

// Outputs in place of inputs, as pointwise.hpp promises, for every kernel.
TEST(Aliasing, InPlaceEqualsOutOfPlace) {
  for (const char* kernel : {"cpu", "reference", "vector"}) {
    SCOPED_TRACE(kernel);
    SelectionScope scope;
    for (const char* op : {"relu", "sigmoid", "add", "multiply", "dropout"}) {
      selection().force(std::string(op) + "=" + kernel);
    }
    const Shape shape{3, 5, 1001};
    const Tensor x = random_tensor(shape, 1, Dtype::f32), dy = random_tensor(shape, 2, Dtype::f32);
    const PointwiseProblem p{.count = x.numel()};
    for (const auto* forward : {&relu_forward, &sigmoid_forward}) {
      const Tensor y = Tensor::empty(shape, Dtype::f32), in_place = x.clone();
      dispatch(*forward, p, {x.view(), y.view()});
      dispatch(*forward, p, {in_place.view(), in_place.view()});
      EXPECT_EQ(in_place.to_doubles(), y.to_doubles()) << forward->name;
    }
    for (const auto* backward : {&relu_backward, &sigmoid_backward}) {
      const Tensor dx = Tensor::empty(shape, Dtype::f32), in_place = dy.clone();
      dispatch(*backward, p, {x.view(), dy.view(), dx.view()});
      dispatch(*backward, p, {x.view(), in_place.view(), in_place.view()});
      EXPECT_EQ(in_place.to_doubles(), dx.to_doubles()) << backward->name;
    }
    for (const Shape& other : {shape, Shape{1001}, Shape{5, 1}, Shape{}}) {
      const Tensor b = random_tensor(other, 3, Dtype::f32);
      for (const auto* forward : {&add_forward, &multiply_forward}) {
        const Tensor y = Tensor::empty(shape, Dtype::f32), left = x.clone(), right = x.clone();
        dispatch(*forward, {.a = shape, .b = other}, {x.view(), b.view(), y.view()});
        dispatch(*forward, {.a = shape, .b = other}, {left.view(), b.view(), left.view()});
        dispatch(*forward, {.a = other, .b = shape}, {b.view(), right.view(), right.view()});
        EXPECT_EQ(left.to_doubles(), y.to_doubles()) << forward->name;
        EXPECT_EQ(right.to_doubles(), y.to_doubles()) << forward->name;
      }
    }
    const DropoutProblem d{.count = x.numel(), .p = 0.3};
    const Tensor key = row_indices({1, 2}), y = Tensor::empty(shape, Dtype::f32);
    const Tensor mask = Tensor::empty(d.mask_shape(), Dtype::u8), in_place = x.clone(), dx = dy.clone();
    dispatch(dropout_forward, d, {x.view(), key.view(), y.view(), mask.view()});
    dispatch(dropout_forward, d, {in_place.view(), key.view(), in_place.view(), mask.view()});
    EXPECT_EQ(in_place.to_doubles(), y.to_doubles());
    const Tensor apart = Tensor::empty(shape, Dtype::f32);
    dispatch(dropout_backward, d, {mask.view(), dy.view(), apart.view()});
    dispatch(dropout_backward, d, {mask.view(), dx.view(), dx.view()});
    EXPECT_EQ(dx.to_doubles(), apart.to_doubles());
  }
}

std::vector<bool> kept(const Tensor& y) {
  std::vector<bool> all;
  for (const double v : y.to_doubles()) all.push_back(v != 0);
  return all;
}

// The known answer of Random123 (kat_vectors) for philox4x32-10 with counter 0 and key 0.
TEST(Dropout, FollowsPhilox) {
  struct Answer {
    std::uint64_t seed, offset;
    std::array<std::uint32_t, 4> words;
  };
  const Answer zero{0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}};
  const Tensor ones = Tensor::full({4}, 1, Dtype::f64);
  for (const double p : {0.3, 0.42, 0.65, 0.8, 0.9}) {
    const std::vector<bool> got = kept(dropout(ones, p, zero.seed, zero.offset));
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_EQ(got[i], double(zero.words[i]) >= p * 0x1p32) << p << ", " << i;
  }
}

TEST(Dropout, DependsOnSeedOffsetAndElementAlone) {
  const Tensor many = Tensor::full({100003}, 1, Dtype::f32), few = Tensor::full({1001}, 1, Dtype::f32);
  const std::vector<bool> whole = kept(dropout(many, 0.3, 5, 6)), start = kept(dropout(few, 0.3, 5, 6));
  EXPECT_EQ(start, std::vector<bool>(whole.begin(), whole.begin() + 1001));
  EXPECT_NE(start, kept(dropout(few, 0.3, 5, 7)));
  EXPECT_NE(start, kept(dropout(few, 0.3, 6, 6)));
  EXPECT_NE(start, kept(dropout(few, 0.3, 5 + (1ull << 40), 6)));
  EXPECT_NE(start, kept(dropout(few, 0.3, 5, 6 + (1ull << 40))));
  const double share = static_cast<double>(std::count(whole.begin(), whole.end(), true)) / 100003;
  EXPECT_NEAR(share, 0.7, 5 * std::sqrt(0.21 / 100003));
  for (const double v : dropout(few, 0.3, 5, 6).to_doubles()) {
    if (v != 0) {
      EXPECT_FLOAT_EQ(static_cast<float>(v), 1 / 0.7f);
    }
  }
}

TEST(Threads, DoNotChangeAnyBit) {
  std::vector<std::vector<double>> results;
  for (const int threads : {1, 3}) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    Tensor x = random_tensor({2, 67, 71, 13}, 1, Dtype::f32).set_requires_grad(true);
    Tensor channels = random_tensor({13}, 2, Dtype::f32).set_requires_grad(true);
    Tensor pixels = random_tensor({2, 67, 71, 1}, 3, Dtype::f32).set_requires_grad(true);
    const Tensor y =
        multiply(add(multiply(dropout(sigmoid(relu(x)), 0.5, 1, 2), channels), channels), pixels);
    y.backward(random_tensor(y.shape(), 4, Dtype::f32));
    std::vector<double> all;
    for (const Tensor& t : {y, x.grad(), channels.grad(), pixels.grad()}) {
      for (const double v : t.to_doubles()) all.push_back(v);
    }
    results.push_back(all);
    omp_set_num_threads(before);
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace fovea
