// Observers on primitives of this test's own: planted kernels that are wrong, slow or out of memory, in place, nested, on
// integers; what --ab and --ledger say of them, and that the run, its traces and its peak of memory stay as they are.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "autograd/functions.hpp"
#include "kernels/cpu/buffer.hpp"
#include "kernels/cpu/workspace.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/primitives.hpp"
#include "kernels/runtime/ledger.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/shadow.hpp"
#include "kernels/runtime/trace.hpp"
#include "models/zoo.hpp"
#include "nn/optimizer.hpp"

namespace fovea {
namespace {

struct ToyProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  void check() const {}
};

// y = 2 x, sum += y, mask = x > 0.
PortList toy_ports(const ToyProblem& p) {
  return {{"x", Role::input, {p.count}, p.dtype},
          {"y", Role::output, {p.count}, p.dtype},
          {"sum", Role::update, {p.count}, p.dtype},
          {"mask", Role::output, {p.count}, Dtype::u8, true}};
}
Cost toy_cost(const ToyProblem& p) { return {static_cast<double>(p.count), 0}; }
bool any(const ToyProblem&) { return true; }
bool f32_only(const ToyProblem& p) { return p.dtype == Dtype::f32; }

template <class Change>
void run_toy(const ToyProblem& p, Ports ports, Stream) {
  visit_any(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T *y = ports[1].as<T>(), *sum = ports[2].as<T>();
    for (std::int64_t i = 0; i < p.count; ++i) {
      const double value = static_cast<double>(x[i]);
      if (ports[3]) ports[3].as<std::uint8_t>()[i] = Change::mask(i, value > 0);
      const auto doubled = static_cast<T>(Change::y(i, 2 * value));
      y[i] = doubled;
      sum[i] = static_cast<T>(static_cast<double>(sum[i]) + static_cast<double>(doubled));
    }
  });
  Change::last();
}

struct Right {
  static double y(std::int64_t, double value) { return value; }
  static std::uint8_t mask(std::int64_t, bool positive) { return positive; }
  static void last() {}
};
struct Wrong : Right {
  static double y(std::int64_t i, double value) { return i == 5 ? value * 1.01 : value; }
};
struct MakesNan : Right {
  static double y(std::int64_t i, double value) {
    return i == 3 ? std::numeric_limits<double>::quiet_NaN() : value;
  }
};
struct WrongMask : Right {
  static std::uint8_t mask(std::int64_t i, bool positive) { return i == 2 ? !positive : positive; }
};
struct Slow : Right {
  static void last() { std::this_thread::sleep_for(std::chrono::milliseconds(3)); }
};
// Of 1 MiB of shared scratch and 2 MiB of its own.
struct Hungry : Right {
  static void last() {
    const Buffer own({2 << 20}, Dtype::u8);
    Workspace::take(std::size_t{1} << 20);
  }
};

constexpr Kernel toy_kernels[] = {
    kernel<&run_toy<Right>, &any>("right", Backend::cpu),
    kernel<&run_toy<Wrong>, &any>("wrong", Backend::cpu),
    kernel<&run_toy<MakesNan>, &any>("nan", Backend::cpu),
    kernel<&run_toy<WrongMask>, &any>("wrong_mask", Backend::cpu),
    kernel<&run_toy<Slow>, &any>("slow", Backend::cpu),
    kernel<&run_toy<Hungry>, &any>("hungry", Backend::cpu),
    kernel<&run_toy<Right>, &f32_only>("narrow", Backend::cpu),
    kernel<&run_toy<Right>, &any>("elsewhere", Backend::cuda),
    kernel<&run_toy<Right>, &any>("reference", Backend::reference),
};
constexpr PrimitiveOf<ToyProblem> toy =
    primitive<ToyProblem, &toy_ports, &toy_cost>("toy.forward", toy_kernels);

// The same function by way of a call of the other one.
void run_composed(const ToyProblem& p, Ports ports, Stream stream) { dispatch(toy, p, ports, stream); }
constexpr Kernel outer_kernels[] = {kernel<&run_composed, &any>("composed", Backend::cpu),
                                    kernel<&run_toy<Right>, &any>("fused", Backend::cpu),
                                    kernel<&run_toy<Right>, &any>("reference", Backend::reference)};
constexpr PrimitiveOf<ToyProblem> outer =
    primitive<ToyProblem, &toy_ports, &toy_cost>("outer.forward", outer_kernels);

struct Calls : TraceSink {
  std::vector<TraceEvent> events;
  TraceSink* before = set_trace_sink(this);
  ~Calls() override { set_trace_sink(before); }
  void record(const TraceEvent& event) override { events.push_back(event); }
  std::string names() const {
    std::string text;
    for (const TraceEvent& e : events) text += std::string(e.primitive->name) + " " + e.kernel->name + "; ";
    return text;
  }
};

class Observers : public ::testing::Test {
 protected:
  Observers() { reset(); }
  ~Observers() override {
    reset();
    set_shared_scratch({});
    set_memory_limit(Device::cpu, 0);
  }
  static void reset() {
    shadows().clear();
    ledger().clear();
    begin_observed_step(1);
  }

  struct Data {
    Tensor x, y, sum, mask;
    std::vector<View> ports() const { return {x.view(), y.view(), sum.view(), mask.view()}; }
  };
  static Data made(Dtype dtype = Dtype::f32, std::int64_t count = 8) {
    Tensor x = Tensor::empty({count}, Dtype::f64);
    for (std::int64_t i = 0; i < count; ++i) x.data<double>()[i] = static_cast<double>(i) - 3.7;
    return {x.to(dtype), Tensor::full({count}, 9, dtype), Tensor::full({count}, 1, dtype),
            Tensor::zeros({count}, Dtype::u8)};
  }
  static void run(const Data& d, const PrimitiveOf<ToyProblem>& primitive = toy) {
    dispatch(primitive, {d.x.dtype(), d.x.numel()}, Ports(d.ports()));
  }
  static Shadows::Row only_row() {
    const auto rows = shadows().rows();
    EXPECT_EQ(rows.size(), 1u);
    return rows.at(0);
  }
  template <class F>
  static std::string error_of(F&& f) {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

 private:
  SelectionScope selection_;
};

TEST_F(Observers, EqualKernelsDifferByNothing) {
  shadows().pair(toy, "right", "reference");
  for (int i = 0; i < 5; ++i) run(made());
  const Shadows::Row row = only_row();
  EXPECT_EQ(row.primitive, "toy.forward");
  EXPECT_EQ(row.problem, "x 8 f32");
  EXPECT_EQ(row.runs, 5);
  EXPECT_EQ(row.difference.relative, 0);
  EXPECT_EQ(row.difference.ulp, 0);
  EXPECT_EQ(row.difference.share, 0);
  EXPECT_EQ(row.ratios.size(), 5u);
  EXPECT_GT(row.ratio().median, 0);
}

TEST_F(Observers, AWrongKernelIsFoundAtItsPortAndElement) {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
    reset();
    SelectionScope scope;
    shadows().pair(toy, "right", "wrong");
    run(made(dtype));
    const Shadows::Row row = only_row();
    EXPECT_TRUE(row.port == "y" || row.port == "sum") << row.port;
    EXPECT_EQ(row.index, "[5]");
    EXPECT_NEAR(row.difference.elementwise, 0.01, 0.005) << name_of(dtype);
    EXPECT_GT(row.difference.relative, 1e-4);
    EXPECT_GE(row.difference.ulp, 1);
    EXPECT_EQ(row.difference.share, 0);
    selection().clear();
  }
}

TEST_F(Observers, TheRunIsThatOfTheFirstKernelToTheBit) {
  const Data alone = made();
  run(alone);
  shadows().pair(toy, "right", "wrong");
  for (int i = 0; i < 2; ++i) {  // in both orders
    const Data beside = made();
    run(beside);
    EXPECT_EQ(beside.y.to_doubles(), alone.y.to_doubles());
    EXPECT_EQ(beside.sum.to_doubles(), alone.sum.to_doubles()) << "an update happens once";
    EXPECT_EQ(beside.x.to_doubles(), alone.x.to_doubles());
  }
}

TEST_F(Observers, InPlace) {
  shadows().pair(toy, "right", "reference");
  ledger().start(1);
  begin_observed_step(1);
  for (int i = 0; i < 2; ++i) {
    Data d = made();
    const std::vector<double> x = d.x.to_doubles();
    d.y = d.x;
    run(d);
    EXPECT_EQ(d.y.to_doubles()[1], 2 * x[1]);
  }
  EXPECT_EQ(only_row().difference.relative, 0);
  ASSERT_EQ(ledger().samples().size(), 1u);
  EXPECT_LT(ledger().samples()[0].difference.relative, 1e-7);
}

TEST_F(Observers, NanIsInfinitelyFar) {
  shadows().pair(toy, "nan", "nan");
  run(made());
  const Shadows::Row row = only_row();
  EXPECT_TRUE(std::isinf(row.difference.relative)) << "NaN equals nothing, itself included";
  EXPECT_TRUE(std::isinf(row.difference.ulp));
  EXPECT_EQ(row.difference.not_finite, 2) << "one element of y, one of sum";
}

TEST_F(Observers, IntegersAreComparedAsShares) {
  shadows().pair(toy, "right", "wrong_mask");
  run(made());
  const Shadows::Row row = only_row();
  EXPECT_EQ(row.difference.relative, 0);
  EXPECT_EQ(row.difference.share, 1.0 / 8);
  EXPECT_EQ(row.port, "mask");
  EXPECT_EQ(row.index, "[2]");
}

TEST_F(Observers, ASlowKernelShowsInTheRatio) {
  shadows().pair(toy, "right", "slow");
  for (int i = 0; i < 4; ++i) run(made());
  EXPECT_GT(only_row().ratio().p10, 20) << "3 ms against well under 0.1";
  reset();
  selection().clear();
  shadows().pair(toy, "slow", "right");
  for (int i = 0; i < 4; ++i) run(made());
  EXPECT_LT(only_row().ratio().p90, 0.05);
}

TEST_F(Observers, TheBoundIsReportedOnceWithStepAndPlace) {
  std::vector<std::string> said;
  shadows().set({.bound = 1e-4, .report = [&](const std::string& s) { said.push_back(s); }});
  shadows().pair(toy, "right", "wrong");
  for (const std::int64_t step : {7, 8}) {
    begin_observed_step(step);
    run(made());
  }
  ASSERT_EQ(said.size(), 1u);
  EXPECT_TRUE(said[0].starts_with("step 7: toy.forward: 'wrong' differs from 'right' by ")) << said[0];
  EXPECT_NE(said[0].find("at [5]"), std::string::npos) << said[0];
  EXPECT_EQ(shadows().first_passing(), said[0]);
  EXPECT_EQ(only_row().passed_at, 7);
}

TEST_F(Observers, StepsBetween) {
  shadows().set({.every = 3});
  shadows().pair(toy, "right", "reference");
  for (std::int64_t step = 1; step <= 7; ++step) {
    begin_observed_step(step);
    run(made());
  }
  EXPECT_EQ(only_row().runs, 3) << "steps 1, 4 and 7";
}

TEST_F(Observers, ProblemsOfOtherShapesAreRowsOfTheirOwn) {
  shadows().pair(toy, "right", "reference");
  run(made(Dtype::f32, 8));
  run(made(Dtype::f32, 9));
  run(made(Dtype::f64, 9));
  run(made(Dtype::f32, 8));
  const auto rows = shadows().rows();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].runs, 2);
  EXPECT_EQ(rows[2].problem, "x 9 f64");
}

TEST_F(Observers, WhatIsNestedInAShadowIsNotObservedNorTraced) {
  shadows().pair(outer, "fused", "composed");
  shadows().pair(toy, "right", "slow");
  const Calls calls;
  run(made(), outer);
  EXPECT_EQ(calls.names(), "outer.forward fused; ");
  EXPECT_EQ(only_row().primitive, "outer.forward");
}

TEST_F(Observers, WhatIsNestedInTheRunIsObservedAndItsShadowTakesNoTimeOfIt) {
  shadows().pair(outer, "composed", "fused");
  shadows().pair(toy, "right", "slow");
  const Calls calls;
  for (int i = 0; i < 3; ++i) run(made(), outer);
  EXPECT_EQ(calls.names(),
            "toy.forward right; outer.forward composed; toy.forward right; outer.forward "
            "composed; toy.forward right; outer.forward composed; ");
  for (const TraceEvent& event : calls.events) EXPECT_LT(event.seconds, 2e-3) << event.primitive->name;
  const auto rows = shadows().rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].primitive, "outer.forward");
  EXPECT_GT(rows[0].ratio().median, 0.001) << "3 ms of sleep beside a microsecond would make it a thousandth";
  EXPECT_GT(rows[1].ratio().median, 20);
}

TEST_F(Observers, PeaksAndSharedScratchStayAsTheyAre) {
  set_shared_scratch({&Workspace::size, &Workspace::restore});
  Workspace::release();
  const Data d = made(Dtype::f32, 1 << 16);
  reset_peak_memory();
  run(d);
  const MemoryUse alone = memory_use();
  shadows().pair(toy, "right", "hungry");
  ledger().start(1);
  begin_observed_step(1);
  run(d);
  run(d);
  EXPECT_EQ(memory_use().peak, alone.peak);
  EXPECT_EQ(memory_use().current, alone.current);

  reset();
  selection().clear();
  selection().force(toy, "hungry");
  run(d);
  const MemoryUse hungry = memory_use();
  EXPECT_GT(hungry.peak, alone.peak);
  Workspace::release();
  reset_peak_memory();
  shadows().pair(toy, "hungry", "right");
  run(d);
  EXPECT_EQ(memory_use().peak, hungry.peak) << "the run's own peak counts";
  Workspace::release();
}

TEST_F(Observers, MemoryThatRunsOutIsSaidToBeTheShadows) {
  const Data d = made(Dtype::f32, 1 << 20);
  shadows().pair(toy, "right", "reference");
  set_memory_limit(Device::cpu, memory_use().current + (4 << 20));
  const std::string error = error_of([&] { run(d); });
  EXPECT_NE(error.find("out of memory on cpu"), std::string::npos) << error;
  EXPECT_NE(error.find("--ab keeps a copy of the ports of toy.forward beside the run"), std::string::npos)
      << error;
  reset();
  ledger().start(1);
  begin_observed_step(1);
  EXPECT_NE(error_of([&] { run(d); }).find("leave out --ledger"), std::string::npos);
}

TEST_F(Observers, WhatCannotBeCompared) {
  EXPECT_NE(error_of([] { shadows().pair(toy, "right", "none"); }).find("has no kernel 'none'"),
            std::string::npos);
  selection().clear();
  shadows().pair(toy, "right", "narrow");
  EXPECT_EQ(error_of([] { run(made(Dtype::f64)); }),
            "toy.forward: kernel 'narrow' of --ab does not support this f64 problem on cpu; name another");
  EXPECT_NE(error_of([] { shadows().pair(toy, "right", "slow"); }).find("stands in two --ab"),
            std::string::npos);
  reset();
  selection().clear();
  shadows().pair(toy, "right", "elsewhere");
  EXPECT_EQ(
      error_of([] { run(made()); }),
      "toy.forward: kernel 'elsewhere' of --ab does not run on cpu; name another, or use --device cuda");
  reset();
  selection().clear();
  selection().force(toy, "slow");
  EXPECT_NE(error_of([] { shadows().pair(toy, "right", "slow"); }).find("which is forced"),
            std::string::npos);
}

TEST_F(Observers, NamesThatAUserTypes) {
  const auto refused = [](const char* assignment) {
    return error_of([&] { shadows().pair(std::string_view(assignment)); });
  };
  for (const char* bad :
       {"ham", "ham=fused", "=fused,composed", "ham=,composed", "ham=fused,", "ham=a,b,c", ""}) {
    EXPECT_NE(refused(bad).find("is not OP=FIRST,SECOND"), std::string::npos) << bad;
  }
  EXPECT_NE(refused("hem=fused,composed").find("there is no op 'hem'; did you mean"), std::string::npos);
  EXPECT_NE(refused("ham=fused,fuzed").find("'ham' has no kernel 'fuzed'; it has "), std::string::npos);
  EXPECT_NE(refused("mlrm=folded,grouped").find("no direction of 'mlrm' has both"), std::string::npos);
  EXPECT_FALSE(observing());
  shadows().pair("ham=fused,composed");
  EXPECT_TRUE(observing());
  EXPECT_EQ(selection().forced_for(find_primitive("ham.backward")), "fused");
}

TEST_F(Observers, TheLedgerFindsRoundingAndTheWrongKernel) {
  ledger().start(10);
  for (std::int64_t step = 1; step <= 21; ++step) {
    if (step == 15) selection().force(toy, "wrong");
    begin_observed_step(step);
    run(made());
    run(made());
    run(made(Dtype::bf16, 9));
    end_observed_step();
    run(made(Dtype::f32, 10));  // validation
  }
  const auto& samples = ledger().samples();
  ASSERT_EQ(samples.size(), 6u) << "steps 1, 11 and 21, two problems each";
  EXPECT_EQ(samples[0].step, 1);
  EXPECT_EQ(samples[0].kernel, "right");
  EXPECT_LT(samples[0].difference.relative, 1e-7);
  EXPECT_LE(samples[0].difference.ulp, 1);
  EXPECT_LT(samples[1].difference.relative, 0x1p-8) << "bf16";
  EXPECT_LE(samples[1].difference.ulp, 1);
  EXPECT_EQ(samples[4].step, 21);
  EXPECT_EQ(samples[4].kernel, "wrong");
  EXPECT_GT(samples[4].difference.relative, 1e-3);
}

TEST_F(Observers, TablesOfAddressesAreLeftAlone) {
  Tensor p = Tensor::full({64}, 1, Dtype::f32);
  p.set_requires_grad(true);
  p.set_grad(Tensor::full({64}, 0.5, Dtype::f32));
  Optimizer optimizer({{.name = "p", .tensor = p}}, {.name = "adam"});
  ledger().start(1);
  begin_observed_step(1);
  optimizer.step(0.1);
  EXPECT_TRUE(ledger().left_out().contains("adam.update"));
  for (const Ledger::Sample& sample : ledger().samples()) EXPECT_NE(sample.primitive, "adam.update");
  shadows().pair("adam=reference,cpu");
  EXPECT_NE(error_of([&] { optimizer.step(0.1); }).find("table of addresses"), std::string::npos);
}

TEST_F(Observers, OffItCostsABranch) {
  const Data d = made(Dtype::f32, 1);
  const std::vector<View> ports = d.ports();
  double best = 1;
  for (int part = 0; part < 50; ++part) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 200; ++i) dispatch(toy, {Dtype::f32, 1}, Ports(ports));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    best = std::min(best, time.count() / 200);
  }
#if defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(best, 20e-6);
#else
  EXPECT_LT(best, 2e-6);
#endif
}

}  // namespace
}  // namespace fovea
