// What the generic kernel and gradient checks do not see of scale_residual: which samples are dropped and how often, that
// a dropped branch is not read, the promised aliasing, independence of the number of threads, and every refusal.
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/pointwise/scale_residual.hpp"

namespace fovea {
namespace {

using cases::random_tensor;

const char* const kernels[] = {"cpu", "reference", "columns"};

/// s of each sample: y where x is 0, f and gamma 1.
std::vector<double> scales(std::int64_t samples, double p, std::uint64_t seed, std::uint64_t offset,
                           Dtype dtype = Dtype::f64) {
  const Tensor zeros = Tensor::zeros({samples, 1}, dtype), ones = Tensor::full({samples, 1}, 1, dtype);
  return scale_residual(zeros, ones, Tensor::full({1}, 1, dtype), p, seed, offset).to_doubles();
}

TEST(ScaleResidual, DropsSamplesAsDropoutDropsElements) {
  for (const char* kernel : kernels) {
    SelectionScope scope;
    selection().force(std::string("scale_residual=") + kernel);
    for (const double p : {0.1, 0.5, 0.9, 1.0}) {
      const Tensor ones = Tensor::full({101}, 1, Dtype::f64);
      EXPECT_EQ(scales(101, p, 5 + (1ull << 40), 6 + (1ull << 40)),
                dropout(ones, p, 5 + (1ull << 40), 6 + (1ull << 40)).to_doubles())
          << kernel << ", p " << p;
    }
  }
}

TEST(ScaleResidual, DropsTheShareItShouldAndKeepsTheMean) {
  for (const double p : {0.05, 0.3}) {
    const std::vector<double> all = scales(50000, p, 1, 2);
    double dropped = 0, sum = 0;
    for (const double s : all) {
      dropped += s == 0;
      sum += s;
      EXPECT_TRUE(s == 0 || s == 1 / (1 - p)) << s;
    }
    const double deviation = std::sqrt(p * (1 - p) / 50000);
    EXPECT_NEAR(dropped / 50000, p, 5 * deviation);
    EXPECT_NEAR(sum / 50000, 1, 5 * deviation / (1 - p));
  }
}

TEST(ScaleResidual, IsDrawnAgainForAnotherSeedOrOffsetAlone) {
  const std::vector<double> once = scales(1000, 0.4, 5, 6);
  EXPECT_EQ(once, scales(1000, 0.4, 5, 6));
  EXPECT_NE(once, scales(1000, 0.4, 5, 7));
  EXPECT_NE(once, scales(1000, 0.4, 6, 6));
  const std::vector<double> fewer = scales(100, 0.4, 5, 6);
  EXPECT_EQ(fewer, std::vector<double>(once.begin(), once.begin() + 100));
}

TEST(ScaleResidual, DoesNotReadTheBranchOfADroppedSample) {
  for (const char* kernel : kernels) {
    SelectionScope scope;
    selection().force(std::string("scale_residual=") + kernel);
    Tensor x = random_tensor({4, 3, 5}, 1, Dtype::f32), gamma = random_tensor({5}, 2, Dtype::f32);
    Tensor f = Tensor::full({4, 3, 5}, std::nan(""), Dtype::f32);
    f.set_requires_grad(true);
    gamma.set_requires_grad(true);
    const Tensor y = scale_residual(x, f, gamma, 1.0, 3, 4);
    EXPECT_EQ(y.to_doubles(), x.to_doubles()) << kernel;
    y.backward(random_tensor({4, 3, 5}, 3, Dtype::f32));
    EXPECT_EQ(f.grad().to_doubles(), std::vector<double>(60, 0.0)) << kernel;
    EXPECT_EQ(gamma.grad().to_doubles(), std::vector<double>(5, 0.0)) << kernel;
  }
}

// Outputs in place of inputs, as scale_residual.hpp promises, for every kernel.
TEST(ScaleResidual, InPlaceEqualsOutOfPlace) {
  for (const char* kernel : kernels) {
    SCOPED_TRACE(kernel);
    SelectionScope scope;
    selection().force(std::string("scale_residual=") + kernel);
    const ScaleResidualProblem p{.samples = 3, .rows = 70, .channels = 36, .p = 0.4};
    const std::int64_t key_values[2] = {1, 2};
    const Tensor key = Tensor::from<std::int64_t>(key_values, {2}, Dtype::i64);
    const Tensor x = random_tensor(p.x_shape(), 1, Dtype::f32), f = random_tensor(p.x_shape(), 2, Dtype::f32);
    const Tensor gamma = random_tensor({36}, 3, Dtype::f32), y = x.clone();
    dispatch(scale_residual_forward, p, {x.view(), f.view(), gamma.view(), key.view(), y.view()});
    const Tensor in_x = x.clone(), in_f = f.clone();
    dispatch(scale_residual_forward, p, {in_x.view(), f.view(), gamma.view(), key.view(), in_x.view()});
    dispatch(scale_residual_forward, p, {x.view(), in_f.view(), gamma.view(), key.view(), in_f.view()});
    EXPECT_EQ(in_x.to_doubles(), y.to_doubles());
    EXPECT_EQ(in_f.to_doubles(), y.to_doubles());

    const Tensor df = x.clone(), dgamma = gamma.clone();
    dispatch(scale_residual_backward, p,
             {f.view(), gamma.view(), key.view(), x.view(), df.view(), dgamma.view()});
    const Tensor over_f = f.clone(), over_dy = x.clone(), again = gamma.clone();
    dispatch(scale_residual_backward, p,
             {over_f.view(), gamma.view(), key.view(), x.view(), over_f.view(), again.view()});
    EXPECT_EQ(over_f.to_doubles(), df.to_doubles());
    EXPECT_EQ(again.to_doubles(), dgamma.to_doubles());
    dispatch(scale_residual_backward, p,
             {f.view(), gamma.view(), key.view(), over_dy.view(), over_dy.view(), again.view()});
    EXPECT_EQ(over_dy.to_doubles(), df.to_doubles());
    EXPECT_EQ(again.to_doubles(), dgamma.to_doubles());
  }
}

TEST(ScaleResidual, ThreadsDoNotChangeAnyBit) {
  std::vector<std::vector<double>> results;
  const int before = omp_get_max_threads();
  for (const int threads : {1, 3}) {
    omp_set_num_threads(threads);
    Tensor x = random_tensor({5, 41, 43, 24}, 1, Dtype::f32).set_requires_grad(true);
    Tensor gamma = random_tensor({24}, 2, Dtype::f32).set_requires_grad(true);
    const Tensor y = scale_residual(x, gelu(layer_norm(x, gamma, gamma)), gamma, 0.3, 8, 9);
    y.backward(random_tensor(y.shape(), 3, Dtype::f32));
    std::vector<double> all;
    for (const Tensor& t : {y, x.grad(), gamma.grad()}) {
      for (const double v : t.to_doubles()) all.push_back(v);
    }
    results.push_back(all);
  }
  omp_set_num_threads(before);
  EXPECT_EQ(results[0], results[1]);
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ScaleResidual, RefusesWhatDoesNotFit) {
  const Tensor x = random_tensor({2, 3}, 1), gamma = random_tensor({3}, 2);
  const auto refused = [&](auto f, const char* part) {
    const std::string message = message_of(f);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refused([&] { scale_residual(x, random_tensor({3, 2}, 1), gamma); }, "x and f of one shape");
  refused([&] { scale_residual(x, x, random_tensor({2}, 1)); }, "got 2x3, 2x3 and 2");
  refused([&] { scale_residual(x, x, gamma, 1.5); }, "probability 1.5 must lie in [0, 1]");
  refused([&] { scale_residual(gamma, gamma, gamma); }, "at least samples x channels");
  refused([&] { layer_norm(x, random_tensor({2}, 1), gamma); }, "port 'gamma' has shape 2, needs 3");
  refused([&] { layer_norm(x, gamma, gamma, 0); }, "eps 0 must be a positive number");
}

}  // namespace
}  // namespace fovea
