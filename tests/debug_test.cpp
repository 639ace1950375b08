// Debug mode against planted faults: a kernel that writes one past the end, one that leaves a hole, one that
// computes NaN, in every floating dtype and in place; and a whole training step that is clean.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/cpu/buffer.hpp"
#include "kernels/runtime/debug.hpp"
#include "models/zoo.hpp"
#include "nn/optimizer.hpp"

namespace fovea {
namespace {

struct ToyProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t rows = 1, columns = 1;
  void check() const {}
};
PortList toy_ports(const ToyProblem& p) {
  const Shape shape{p.rows, p.columns};
  return {{"x", Role::input, shape, p.dtype},
          {"y", Role::output, shape, p.dtype},
          {"index", Role::output, {p.rows}, Dtype::i64, true},
          {"mean", Role::update, {p.columns}, p.dtype, true}};
}
Cost toy_cost(const ToyProblem&) { return {}; }
bool supports_any(const ToyProblem&) { return true; }

// y = x + 1, then whatever Fault does to it.
template <class Fault>
void run_toy(const ToyProblem&, Ports ports, Stream) {
  visit_any(ports[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = ports[1].as<T>();
    for (std::int64_t i = 0; i < ports[0].numel(); ++i) {
      if (!Fault::skips(i)) y[i] = static_cast<T>(static_cast<double>(x[i]) + 1);
    }
    Fault::act(ports, y);
  });
}

struct Fine {
  static bool skips(std::int64_t) { return false; }
  template <class T>
  static void act(Ports ports, T*) {
    if (ports[2]) std::fill_n(ports[2].as<std::int64_t>(), ports[2].numel(), 3);
  }
};
struct PastTheEnd : Fine {
  template <class T>
  static void act(Ports ports, T* y) {
    y[ports[1].numel()] = static_cast<T>(0.0);
  }
};
struct InFront : Fine {
  template <class T>
  static void act(Ports, T* y) {
    y[-2] = static_cast<T>(0.0);
  }
};
struct Hole : Fine {
  static bool skips(std::int64_t i) { return i == 7 || i == 9; }
};
struct MakesNan : Fine {
  template <class T>
  static void act(Ports, T* y) {
    y[4] = static_cast<T>(std::numeric_limits<double>::quiet_NaN());
  }
};
struct NoIndex : Fine {
  template <class T>
  static void act(Ports ports, T*) {
    if (ports[2]) ports[2].as<std::int64_t>()[0] = 1;
  }
};
struct ScratchPastTheEnd : Fine {
  template <class T>
  static void act(Ports, T*) {
    const Buffer scratch({3}, Dtype::f32);
    scratch.view.as<float>()[3] = 0;
  }
};

template <class Fault>
constexpr Kernel toy_kernel[] = {kernel<&run_toy<Fault>, &supports_any>("planted", Backend::cpu)};
template <class Fault>
constexpr PrimitiveOf<ToyProblem> toy = primitive<ToyProblem, &toy_ports, &toy_cost>("toy.forward",
                                                                                     toy_kernel<Fault>);

class DebugMode : public ::testing::TestWithParam<Dtype> {
 protected:
  DebugMode() { set_debug(true); }
  ~DebugMode() override { set_debug(false); }

  ToyProblem problem() const { return {GetParam(), 4, 3}; }
  Tensor made(double value = 2) const { return Tensor::full({4, 3}, value, GetParam()); }
  std::string prefix() const {
    return "toy.forward (cpu kernel 'planted', x 4x3 " + std::string(name_of(GetParam())) + "): ";
  }
  template <class Fault>
  std::string run(const Tensor& x, const Tensor& y, const Tensor& index = {}, const Tensor& mean = {}) const {
    try {
      dispatch(toy<Fault>, problem(), {x.view(), y.view(), index.view(), mean.view()});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_P(DebugMode, FineKernelsPass) {
  EXPECT_EQ(run<Fine>(made(), made()), "");
  const Tensor y = made();
  EXPECT_EQ(run<Fine>(y, y), "") << "in place";
  EXPECT_EQ(y.to_doubles(), std::vector<double>(12, 3.0)) << "an output that is an input is not poisoned";
  EXPECT_EQ(run<Fine>(made(), made(), Tensor::zeros({4}, Dtype::i64), Tensor::zeros({3}, GetParam())), "");
}

TEST_P(DebugMode, WritesOutside) {
  const std::int64_t size = size_of(GetParam());
  const Tensor x = made(), y = made();
  EXPECT_EQ(run<PastTheEnd>(x, y),
            prefix() + "memory outside port 'y' was overwritten: byte 1 after the end of its " +
                std::to_string(12 * size) + " bytes");
  EXPECT_EQ(run<Fine>(x, y), "") << "each is reported once";
  EXPECT_EQ(run<InFront>(x, y), prefix() + "memory outside port 'y' was overwritten: byte " +
                                    std::to_string(size + 1) + " before the beginning of its " +
                                    std::to_string(12 * size) + " bytes");
  EXPECT_NE(run<PastTheEnd>(y, y).find("memory outside port 'x' was overwritten"), std::string::npos)
      << "in place";
  EXPECT_EQ(run<ScratchPastTheEnd>(x, y),
            prefix() +
                "memory outside a tensor freed by now was overwritten: byte 1 after the end of its 12 bytes");
}

TEST_P(DebugMode, DamageOfBeforeIsNotThisKernels) {
  const Tensor x = made(), y = made();
  static_cast<unsigned char*>(y.view().data)[y.view().bytes()] = 0;
  EXPECT_NE(run<Fine>(x, y).find("'y' was overwritten before this kernel ran: byte 1 after"),
            std::string::npos);
}

TEST_P(DebugMode, Holes) {
  EXPECT_EQ(run<Hole>(made(), made()), prefix() +
                                           "output 'y' was never written (or made from what never was) at "
                                           "[2, 1] and 1 more of its 12 elements");
  EXPECT_EQ(run<NoIndex>(made(), made(), Tensor::zeros({4}, Dtype::i64)),
            prefix() +
                "output 'index' was never written (or made from what never was) at [1] and 2 more of its 4 "
                "elements");
  const Tensor y = made();
  EXPECT_EQ(run<Hole>(y, y), "") << "in place what is not written is what was there";
}

TEST_P(DebugMode, Nan) {
  EXPECT_EQ(run<MakesNan>(made(), made()),
            prefix() + "output 'y' was computed as NaN at [1, 1]; no input held NaN");
  const Tensor y = made();
  EXPECT_EQ(run<MakesNan>(y, y), prefix() + "output 'y' was computed as NaN at [1, 1]; no input held NaN")
      << "in place";
  const Tensor x = made(std::nan(""));
  EXPECT_EQ(run<Fine>(x, made()),
            prefix() +
                "output 'y' was computed as NaN at [0, 0] and 11 more of its 12 elements; its input 'x' at "
                "[0, 0] and 11 more of its 12 elements already held NaN");
  const Tensor mean = Tensor::full({3}, std::nan(""), GetParam());
  EXPECT_NE(run<Fine>(made(), made(), {}, mean).find("output 'mean' was computed as NaN at [0] and 2 more"),
            std::string::npos);
  EXPECT_EQ(run<Fine>(made(INFINITY), made()), "") << "infinity is a number here";
}

TEST_P(DebugMode, OffItSaysNothing) {
  set_debug(false);
  EXPECT_EQ(run<MakesNan>(made(), made()), "");
  EXPECT_EQ(run<Hole>(made(), made()), "");
}

INSTANTIATE_TEST_SUITE_P(Dtypes, DebugMode, ::testing::Values(Dtype::f32, Dtype::f64, Dtype::bf16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(DebugModel, ATrainingStepIsClean) {
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    set_debug(true);
    ModelConfig config;
    config.dtype = dtype;
    config.modalities = {"fundus", "vf"};
    const auto model = make_model(config);
    model->set_training(true);
    ModelInput input;
    input.images = {cases::random_tensor({2, 32, 32, 3}, 1, dtype),
                    cases::random_tensor({2, 32, 32, 1}, 2, dtype)};
    input.present = {{}, {1, 0}};
    const std::vector<std::int64_t> classes{0, 2};
    const Tensor labels = Tensor::from<std::int64_t>(classes, {2}, Dtype::i64);
    const Tensor loss =
        cross_entropy(model->forward(input, {.stochastic = true, .seed = 1, .step = 0}), labels);
    EXPECT_NO_THROW(loss.backward());
    Optimizer optimizer(model->parameters(), {});
    EXPECT_NO_THROW(optimizer.step(1e-3));
    set_debug(false);
  }
}

}  // namespace
}  // namespace fovea
