// dispatch_bench: what a dispatch costs beside its kernel, and what a profile costs a training step.
//
//   dispatch_bench                                   all of it
//   dispatch_bench --benchmark_filter=dispatch       microseconds of a dispatch whose kernel does nothing
//   dispatch_bench --benchmark_filter=step           plain and profiled steps in turn; slower_% is the median of the
//                                                    ratios of neighbours, since a machine's speed drifts
//
// The bounds that docs/profile.md states are checked by eye: a busy machine breaks them without anything being wrong.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "kernels/runtime/layer_scope.hpp"
#include "kernels/runtime/primitive.hpp"
#include "kernels/runtime/profile.hpp"
#include "models/zoo.hpp"
#include "nn/optimizer.hpp"

namespace {

using namespace fovea;

struct NothingProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 1;
  void check() const {
    if (n < 1) fail("nothing: n must be at least 1");
  }
};

PortList nothing_ports(const NothingProblem& p) {
  return {{"x", Role::input, {p.n, 8, 8, 4}, p.dtype},
          {"w", Role::input, {4, 3, 3, 4}, p.dtype},
          {"b", Role::input, {4}, p.dtype, true},
          {"y", Role::output, {p.n, 8, 8, 4}, p.dtype}};
}
Cost nothing_cost(const NothingProblem& p) { return {1e3, bytes_of(nothing_ports(p))}; }
void do_nothing(const NothingProblem&, Ports, Stream) {}

constexpr Kernel nothing_kernels[] = {
    kernel<&do_nothing, &supports_f32<NothingProblem>>("plain", Backend::cpu)};
constexpr PrimitiveOf<NothingProblem> nothing =
    primitive<NothingProblem, &nothing_ports, &nothing_cost>("nothing.forward", nothing_kernels);

class Dispatched {
 public:
  void operator()() const { dispatch(nothing, problem_, {x_.view(), w_.view(), b_.view(), y_.view()}); }

 private:
  NothingProblem problem_{.n = 2};
  Tensor x_ = Tensor::zeros({2, 8, 8, 4}, Dtype::f32), w_ = Tensor::zeros({4, 3, 3, 4}, Dtype::f32),
         b_ = Tensor::zeros({4}, Dtype::f32), y_ = Tensor::zeros({2, 8, 8, 4}, Dtype::f32);
};

void dispatch_untraced(benchmark::State& state) {
  const Dispatched run;
  for (auto _ : state) run();
}
BENCHMARK(dispatch_untraced);

void dispatch_profiled(benchmark::State& state) {
  const Dispatched run;
  auto profile = std::make_unique<Profile>(Device::cpu);
  profile->begin_step();
  for (auto _ : state) run();
  profile->end_step();
}
BENCHMARK(dispatch_profiled)->Iterations(200000);  // each leaves a record

/// A training step of ResNet18 on small images: many short kernels, where a profile costs most.
class Step {
 public:
  Step() {
    model_->name_layers();
    std::vector<float> values(static_cast<std::size_t>(image_.numel()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(i * 2654435761u % 1000) / 500 - 1;
    image_ = Tensor::from<float>(std::span<const float>(values), image_.shape(), Dtype::f32);
  }
  double seconds() {
    const auto begin = std::chrono::steady_clock::now();
    optimizer_.zero_grad();
    const Tensor logits = model_->forward({{image_}, {}}, {.step = step_++});
    loss_of(logits, {}, labels_).backward();
    optimizer_.step(1e-4);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  std::unique_ptr<Model> model_ = make_model({.name = "resnet18"});
  Optimizer optimizer_{model_->parameters(), OptimizerOptions{}};
  Tensor image_ = Tensor::zeros({8, 64, 64, 3}, Dtype::f32);
  Tensor labels_ = Tensor::zeros({8}, Dtype::i64);
  std::uint64_t step_ = 0;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void step_with_and_without_profile(benchmark::State& state) {
  Step step;
  step.seconds();
  std::vector<double> ratios, plain;
  Profile profile(Device::cpu);
  for (auto _ : state) {
    const double before = step.seconds();
    profile.begin_step();
    const double profiled = step.seconds();
    profile.end_step();
    const double after = step.seconds();
    ratios.push_back(profiled / ((before + after) / 2));
    plain.push_back((before + after) / 2);
    state.SetIterationTime(profiled);
  }
  state.counters["plain_ms"] = median(plain) * 1e3;
  state.counters["slower_%"] = (median(ratios) - 1) * 100;
}
BENCHMARK(step_with_and_without_profile)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(60);

}  // namespace

BENCHMARK_MAIN();
