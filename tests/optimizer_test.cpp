// Optimizers and schedules against torch.optim (1.13, fp64; values below), the list form of the updates
// against the flat one, bit-exact resume, and every refusal.
#include "nn/optimizer.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "cases/case.hpp"
#include "kernels/optim/optim.hpp"
#include "nn/schedule.hpp"

namespace fovea {
namespace {

Tensor leaf(const std::vector<double>& values, const Shape& shape, Dtype dtype = Dtype::f64) {
  return Tensor::from<double>(values, shape, dtype).set_requires_grad(true);
}

// Two parameters and five steps of made-up gradients; in the third step the second parameter has none.
struct Toy {
  explicit Toy(Dtype dtype = Dtype::f64) {
    parameters = {{"a", leaf({0.5, -1.25, 2.0}, {3}, dtype)},
                  {"b", leaf({1.0, -0.5, 0.25, 3.0}, {2, 2}, dtype)}};
  }
  void set_gradients(int t) {
    const Dtype dtype = parameters[0].tensor.dtype();
    const std::vector<double> a{0.3 * (t + 1), -0.7, 0.2 - 0.1 * t}, b{1.5, -2.0 + t, 0.0, 0.4 * t};
    parameters[0].tensor.set_grad(Tensor::from<double>(a, {3}, dtype));
    parameters[1].tensor.set_grad(t == 2 ? Tensor{} : Tensor::from<double>(b, {2, 2}, dtype));
  }
  std::vector<double> values() const {
    std::vector<double> all = parameters[0].tensor.to_doubles();
    for (const double v : parameters[1].tensor.to_doubles()) all.push_back(v);
    return all;
  }
  std::vector<NamedTensor> parameters;
};

struct TorchRun {
  const char* label;
  const char* name;
  double weight_decay, beta1, beta2, eps, momentum, clip_norm;
  std::array<double, 7> expected;  // a, then b, after five steps at 0.1

  OptimizerOptions options() const {
    OptimizerOptions o;
    o.name = name;
    o.weight_decay = weight_decay;
    o.beta1 = beta1;
    o.beta2 = beta2;
    o.eps = eps;
    o.momentum = momentum;
    o.clip_norm = clip_norm;
    return o;
  }
};

constexpr TorchRun torch_runs[] = {
    {"adam",
     "adam",
     0,
     0.9,
     0.999,
     1e-8,
     0,
     0,
     {0.014916913764645476, -0.7500000071428583, 1.7194355669634247, 0.6000000026666678, -0.27873442236417917,
      0.25, 2.761189684956768}},
    {"adam, weight decay, other betas and eps",
     "adam",
     0.05,
     0.8,
     0.95,
     1e-3,
     0,
     0,
     {0.003840455397882636, -0.7511321544942237, 1.6294507054306255, 0.6003784167994203, -0.2982989751244277,
      -0.062109617771427796, 2.6259016864157676}},
    {"adamw, weight decay",
     "adamw",
     0.05,
     0.9,
     0.999,
     1e-8,
     0,
     0,
     {0.007402697739938124, -0.7240360109116295, 1.674178777512117, 0.5831395157717344, -0.27142988697128084,
      0.24503737515625001, 2.702774403644164}},
    {"adamw, weight decay, clipped",
     "adamw",
     0.05,
     0.9,
     0.999,
     1e-8,
     0,
     0.75,
     {0.031042058523895424, -0.7423781487418263, 1.6546968065582908, 0.586546450689587, -0.2524877130828309,
      0.24503737515625001, 2.6979362129054425}},
    {"sgd", "sgd", 0, 0.9, 0.999, 1e-8, 0, 0, {0.05, -0.9, 2.0, 0.4, -0.5, 0.25, 2.68}},
    {"sgd, momentum, weight decay",
     "sgd",
     0.05,
     0.9,
     0.999,
     1e-8,
     0.9,
     0,
     {-0.47599686008281256, -0.25953458004609364, 1.79491911098125, -0.3919026931250001, 0.08085101843749994,
      0.23877497828125, 2.3702587393749996}},
    {"sgd, momentum, clipped",
     "sgd",
     0,
     0.9,
     0.999,
     1e-8,
     0.9,
     0.75,
     {0.13006340574915304, -0.9016579943010589, 1.9740227670697839, 0.5887950229388828, -0.3042343950296374,
      0.25, 2.8589969208888824}},
};
constexpr double torch_norms[] = {2.6210684844162313, 2.0663978319771825, 1.1401754250991378,
                                  2.5748786379167465, 3.40440890610984};

void expect_near(const std::vector<double>& got, std::span<const double> expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << "element " << i;
}

TEST(Optimizer, EqualsTorch) {
  for (const TorchRun& run : torch_runs) {
    for (const char* kernel : {"cpu", "reference", "multi_tensor"}) {
      for (const Dtype dtype : {Dtype::f64, Dtype::f32}) {
        SCOPED_TRACE(std::string(run.label) + ", " + kernel + ", " + std::string(name_of(dtype)));
        SelectionScope scope;
        for (const char* op : {"adam", "sgd", "sum_of_squares"}) {
          selection().force(std::string(op) + "=" + kernel);
        }
        const double tolerance = dtype == Dtype::f64 ? 1e-14 : 2e-6;
        Toy toy(dtype);
        Optimizer optimizer(toy.parameters, run.options());
        for (int t = 0; t < 5; ++t) {
          toy.set_gradients(t);
          EXPECT_NEAR(optimizer.step(0.1), torch_norms[t], tolerance);
          optimizer.zero_grad();
          EXPECT_FALSE(toy.parameters[0].tensor.grad());
        }
        expect_near(toy.values(), run.expected, tolerance);
        EXPECT_EQ(optimizer.steps(), 5);
      }
    }
  }
}

// Many tensors of sizes around a chunk in one call, against one flat call each; and the same with one thread.
TEST(Optimizer, ListFormEqualsFlatForm) {
  for (const char* name : {"adamw", "sgd"}) {
    const OptimizerOptions options{.name = name, .weight_decay = 0.1};
    std::vector<std::vector<double>> results;
    for (const int threads : {1, 3}) {
      const int before = omp_get_max_threads();
      omp_set_num_threads(threads);
      std::vector<NamedTensor> parameters;
      for (std::int64_t i = 0; i < 60; ++i) {
        const std::int64_t size = i % 3 == 0 ? 16384 + i - 30 : 1 + i;
        Tensor t = cases::random_tensor({size}, static_cast<std::uint64_t>(i), Dtype::f32);
        parameters.push_back({std::to_string(i), t.set_requires_grad(true)});
        t.set_grad(cases::random_tensor({size}, static_cast<std::uint64_t>(100 + i), Dtype::f32));
      }
      std::vector<Tensor> flat;
      for (const NamedTensor& p : parameters) {
        flat.push_back(p.tensor.clone());
        Tensor first = Tensor::zeros(p.tensor.shape(), Dtype::f32), second = first.clone();
        const View param = flat.back().view(), grad = p.tensor.grad().view();
        if (options.name == "sgd") {
          dispatch(sgd,
                   {.count = p.tensor.numel(), .learning_rate = 0.01, .momentum = 0.9, .weight_decay = 0.1},
                   {param, grad, first.view(), {}, {}});
        } else {
          dispatch(adam,
                   {.decoupled = 1, .count = p.tensor.numel(), .learning_rate = 0.01, .weight_decay = 0.1},
                   {param, grad, first.view(), second.view(), {}, {}});
        }
      }
      std::vector<double> result{Optimizer(parameters, options).step(0.01)};
      for (std::size_t i = 0; i < flat.size(); ++i) {
        EXPECT_EQ(parameters[i].tensor.to_doubles(), flat[i].to_doubles())
            << options.name << ", tensor " << i;
        result.push_back(flat[i].to_doubles().back());
      }
      results.push_back(result);
      omp_set_num_threads(before);
    }
    EXPECT_EQ(results[0], results[1]) << "the number of threads shows";
  }
}

TEST(Optimizer, ResumesBitExactly) {
  for (const TorchRun& run : torch_runs) {
    SCOPED_TRACE(run.label);
    Toy whole(Dtype::f32), parts(Dtype::f32);
    Optimizer uninterrupted(whole.parameters, run.options());
    std::vector<NamedTensor> saved;
    {
      Optimizer first_half(parts.parameters, run.options());
      for (int t = 0; t < 3; ++t) {
        parts.set_gradients(t);
        first_half.step(0.1);
      }
      for (const NamedTensor& s : first_half.state())
        saved.push_back({s.name, s.tensor.clone(), s.layout, false});
    }
    Optimizer second_half(parts.parameters, run.options());
    second_half.load_state(saved);
    EXPECT_EQ(second_half.steps(), 3);
    for (int t = 0; t < 5; ++t) {
      whole.set_gradients(t);
      uninterrupted.step(0.1);
      if (t < 3) continue;
      parts.set_gradients(t);
      second_half.step(0.1);
    }
    EXPECT_EQ(parts.values(), whole.values());
  }
}

TEST(Optimizer, StateIsNamedAfterParameters) {
  Toy toy;
  const auto names = [&](const OptimizerOptions& options) {
    std::vector<std::string> all;
    for (const NamedTensor& s : Optimizer(toy.parameters, options).state()) all.push_back(s.name);
    return all;
  };
  const std::vector<std::string> adam_names{"a/exp_avg",    "a/exp_avg_sq", "a/step", "b/exp_avg",
                                            "b/exp_avg_sq", "b/step",       "steps"};
  EXPECT_EQ(names({.name = "adamw"}), adam_names);
  EXPECT_EQ(names({.name = "sgd"}), (std::vector<std::string>{"a/momentum", "b/momentum", "steps"}));
  EXPECT_EQ(names({.name = "sgd", .momentum = 0}), (std::vector<std::string>{"steps"}));
}

TEST(Optimizer, RefusesStateThatDoesNotFit) {
  Toy toy;
  Optimizer optimizer(toy.parameters, {});
  std::vector<NamedTensor> state = optimizer.state();
  state.erase(state.begin());
  state[0].tensor = Tensor::full({4}, 7, Dtype::f64);
  try {
    optimizer.load_state(state);
    FAIL() << "accepted";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("'a/exp_avg' is missing"), std::string::npos) << what;
    EXPECT_NE(what.find("'a/exp_avg_sq' is 4 of f64, needs 3 of f64"), std::string::npos) << what;
  }
  for (const NamedTensor& s : optimizer.state()) {
    for (const double v : s.tensor.to_doubles()) EXPECT_EQ(v, 0) << s.name;
  }
}

TEST(Optimizer, ANormThatIsNotFiniteChangesNothing) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Toy toy;
    Optimizer optimizer(toy.parameters, {.clip_norm = 1});
    toy.set_gradients(0);
    const std::vector<double> before = toy.values();
    toy.parameters[1].tensor.set_grad(Tensor::full({2, 2}, bad, Dtype::f64));
    try {
      optimizer.step(0.1);
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'b'"), std::string::npos) << error.what();
    }
    EXPECT_EQ(toy.values(), before);
    EXPECT_EQ(optimizer.steps(), 0);
    for (const NamedTensor& s : optimizer.state()) {
      for (const double v : s.tensor.to_doubles()) EXPECT_EQ(v, 0) << s.name;
    }
  }
}

TEST(Optimizer, TellsTheEngineWhatItChanged) {
  Toy toy;
  Optimizer optimizer(toy.parameters, {});
  toy.set_gradients(2);  // b has no gradient
  const std::uint32_t a = toy.parameters[0].tensor.storage()->version,
                      b = toy.parameters[1].tensor.storage()->version;
  optimizer.step(0.1);
  EXPECT_NE(toy.parameters[0].tensor.storage()->version, a);
  EXPECT_EQ(toy.parameters[1].tensor.storage()->version, b);
}

TEST(Optimizer, StepsWithoutAnyGradient) {
  Toy toy;
  Optimizer optimizer(toy.parameters, {});
  const std::vector<double> before = toy.values();
  EXPECT_EQ(optimizer.step(0.1), 0);
  EXPECT_EQ(toy.values(), before);
}

TEST(Optimizer, RefusesNonsense) {
  Toy toy;
  const auto make = [&](const OptimizerOptions& options) { Optimizer(toy.parameters, options); };
  EXPECT_THROW(make({.name = "adan"}), UsageError);
  EXPECT_THROW(make({.weight_decay = -1}), UsageError);
  EXPECT_THROW(make({.beta1 = 1}), UsageError);
  EXPECT_THROW(make({.beta2 = -0.1}), UsageError);
  EXPECT_THROW(make({.eps = std::nan("")}), UsageError);
  EXPECT_THROW(make({.momentum = -0.5}), UsageError);
  EXPECT_THROW(make({.clip_norm = -1}), UsageError);
  Optimizer optimizer(toy.parameters, {});
  EXPECT_THROW(optimizer.step(std::nan("")), UsageError);
  toy.parameters[1].name = "a";
  EXPECT_THROW(make({}), Error);
  toy.parameters[1] = {"b", leaf({1}, {1}, Dtype::f32)};
  EXPECT_THROW(make({}), Error);
}

TEST(Schedule, CosineEqualsTorch) {
  const ScheduleOptions options{.name = "cosine", .learning_rate = 0.4, .total_steps = 10, .min_factor = 0.1};
  const double torch[] = {0.4,
                          0.3911901729331277,
                          0.36562305898749053,
                          0.32580134541264516,
                          0.27562305898749057,
                          0.22000000000000003,
                          0.1643769410125095,
                          0.11419865458735487,
                          0.07437694101250948,
                          0.04880982706687237,
                          0.04};
  for (int t = 0; t <= 10; ++t) EXPECT_NEAR(learning_rate_at(options, t), torch[t], 1e-15) << t;
  EXPECT_NEAR(learning_rate_at(options, 1000), 0.04, 1e-15);
}

TEST(Schedule, WarmsUpToThePeak) {
  for (const char* name : {"constant", "cosine", "step"}) {
    const ScheduleOptions options{
        .name = name, .learning_rate = 2, .warmup_steps = 4, .total_steps = 12, .step_size = 3, .gamma = 0.5};
    for (int t = 0; t < 4; ++t) EXPECT_DOUBLE_EQ(learning_rate_at(options, t), 0.5 * (t + 1)) << name << t;
    EXPECT_DOUBLE_EQ(learning_rate_at(options, 4), 2) << name;
  }
  EXPECT_NEAR(
      learning_rate_at({.name = "cosine", .learning_rate = 2, .warmup_steps = 4, .total_steps = 12}, 6),
      1 + std::cos(std::numbers::pi / 4), 1e-15);
}

TEST(Schedule, StepsDown) {
  const ScheduleOptions options{
      .name = "step", .learning_rate = 8, .warmup_steps = 2, .step_size = 3, .gamma = 0.5};
  const double expected[] = {4, 8, 8, 8, 8, 4, 4, 4, 2, 2, 2, 1};
  for (int t = 0; t < 12; ++t) EXPECT_DOUBLE_EQ(learning_rate_at(options, t), expected[t]) << t;
}

TEST(Schedule, RefusesNonsense) {
  EXPECT_THROW(learning_rate_at({.name = "cosin"}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({}, -1), UsageError);
  EXPECT_THROW(learning_rate_at({.learning_rate = -1}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.learning_rate = std::nan("")}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.warmup_steps = -1}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.name = "cosine"}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.name = "cosine", .warmup_steps = 5, .total_steps = 5}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.name = "cosine", .total_steps = 5, .min_factor = 2}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.name = "step"}, 0), UsageError);
  EXPECT_THROW(learning_rate_at({.name = "step", .step_size = 5, .gamma = 0}, 0), UsageError);
}

}  // namespace
}  // namespace fovea
