// cuDNN itself, where no device is: it loads, and every graph that a kernel asks for, over all cases of the tests and all
// shapes of the benchmarks, is one that it validates and builds for an H200 that is only described. Engines that compile
// want a driver as well; the toolkit's stub of one is enough for them to say which graphs they take.
#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "../bench/shapes.hpp"
#include "cases/case.hpp"
#include "kernels/cuda/cudnn_graph.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/primitives.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

// cuDNN's own JSON of a device's properties.
constexpr const char* h200 =
    R"({"cudaDeviceId":0,"deviceVer":900,"driverVer":13000,"maxGridSize":[2147483647,65535,65535],)"
    R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":132,"smClockRateKHz":1980000,)"
    R"("memClockRateKHz":3201000,"l2CacheSize":62914560,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
    R"("maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
    R"("pciDeviceId":0,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"isTccDriver":0,)"
    R"("supportCoopLaunch":1,"totalGlobalMem":150000000000,"deviceName":"NVIDIA H200"})";

// A graph without plans here may have some on the device.
struct Validated : PlannedOp {
  std::vector<PlanInfo> all{PlanInfo{"validated", "", 0, true, false, false}};
  std::span<const PlanInfo> plans() const override { return all; }
  void build(std::size_t) override {}
  void run(std::size_t, std::span<void* const>, void*, Stream) override { fail("there is no device"); }
};

struct Described : library::Source {
  int graphs = 0, products = 0, with_plans = 0;
  std::vector<std::string> refused, without_plans;

  std::string why_unusable() override { return ""; }
  PlanFileHeader header() override { return {"described", cudnn::version(), "none"}; }
  std::unique_ptr<PlannedOp> plan(const GraphSpec& spec) override {
    ++graphs;
    try {
      const auto op = cudnn::plan(spec, h200);
      with_plans += !op->plans().empty();
      if (op->plans().empty())
        without_plans.push_back(fmt::format("{}: {} ({})", spec.primitive(), spec.text(), op->refusal()));
    } catch (const Error& error) {
      refused.push_back(fmt::format("{}: {}", spec.text(), error.what()));
      throw;
    }
    return std::make_unique<Validated>();
  }
  std::unique_ptr<PlannedOp> plan(const MatmulSpec& spec) override {
    ++products;
    EXPECT_EQ(spec.problem(), "");
    return std::make_unique<Validated>();
  }
};

class CudnnTest : public ::testing::Test {
 protected:
  CudnnTest() : folder_(std::filesystem::temp_directory_path() / fmt::format("fovea-cudnn-{}", ::getpid())) {
    ::setenv("FOVEA_PLAN_CACHE", folder_.c_str(), 1);
    library::set_source(&source_);
  }
  ~CudnnTest() override {
    library::set_source(nullptr);
    std::filesystem::remove_all(folder_);
  }
  void SetUp() override {
    if (const std::string why = cudnn::why_unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  std::filesystem::path folder_;
  Described source_;
};

TEST_F(CudnnTest, BuildsEveryGraphThatAKernelAsksFor) {
  int supported = 0;
  const auto ask = [&](const cases::PrimitiveCase& c) {
    for (const Kernel& kernel : c.primitive->kernels) {
      if (kernel.backend != Backend::cudnn) continue;
      for (const Dtype dtype : {Dtype::f32, Dtype::bf16})
        supported += kernel.supports(c.problem(dtype).get());
    }
  };
  for (const cases::PrimitiveCase& c : cases::primitive_cases()) ask(c);
  for (const bench::BenchShape& shape : bench::shapes(false)) ask(shape.problem);
  EXPECT_GT(supported, 100);
  EXPECT_GT(source_.graphs, 100);
  EXPECT_GT(source_.products, 20);
  EXPECT_GT(source_.with_plans, 20) << "engines that are compiled already need no driver";
  for (const std::string& r : source_.refused) ADD_FAILURE() << r;
}

TEST_F(CudnnTest, NamesEnginesAndKnobs) {
  GraphSpec g("conv2d.forward", {});
  g.input("x", Dtype::f32, {8, 64, 56, 56});
  g.input("w", Dtype::f32, {128, 64, 3, 3});
  g.windowed(GraphOp::convolution, {"x", "w"}, "y",
             {.window = {1, 1}, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}});
  g.output("y", Dtype::f32, {8, 128, 56, 56});
  const auto op = cudnn::plan(g, h200);
  ASSERT_FALSE(op->plans().empty());
  int tf32 = 0, plain = 0;
  for (const PlanInfo& p : op->plans()) {
    EXPECT_TRUE(p.engine.starts_with("eng")) << p.engine;
    EXPECT_TRUE(p.knobs.empty() || p.knobs.find('=') != std::string::npos) << p.knobs;
    EXPECT_GE(p.workspace, 0);
    ++(p.tf32 ? tf32 : plain);
  }
  EXPECT_GT(tf32, 0);
  EXPECT_GT(plain, 0);
  op->build(0);
  void* const nothing[3] = {};
  EXPECT_THROW(op->run(0, nothing, nullptr, {}), Error);
}

TEST_F(CudnnTest, RefusalsAreOneSentence) {
  GraphSpec g("conv2d.forward", {});
  g.input("x", Dtype::f32, {8, 64, 56, 56});
  g.input("w", Dtype::f32, {128, 63, 3, 3});
  g.windowed(GraphOp::convolution, {"x", "w"}, "y", {});
  g.output("y", Dtype::f32, {8, 128, 54, 54});
  try {
    cudnn::plan(g, h200);
    FAIL() << "64 channels are not 63";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("conv2d.forward: cuDNN 9"), 0u) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

// ---- with a driver that only pretends

// The toolkit's stub of the driver: every call of it fails, but it is there to be loaded, and then the engines that compile
// say of a graph whether they would take it. The last tests of this file, since the library keeps what it has loaded.
class PretendedDriverTest : public CudnnTest {
 protected:
  void SetUp() override {
    CudnnTest::SetUp();
    if (IsSkipped()) return;
    static void* const stub = dlopen(FOVEA_DRIVER_STUB, RTLD_NOW | RTLD_GLOBAL);
    if (stub == nullptr) GTEST_SKIP() << "this toolkit has no stub of the driver: " << dlerror();
  }

  // Empty where there are plans.
  static std::string refusal_of(const GraphSpec& spec) {
    const auto op = cudnn::plan(spec, h200);
    EXPECT_EQ(op->plans().empty(), !op->refusal().empty());
    return op->refusal();
  }
};

constexpr GraphShape image{32, 512, 14, 14}, filters{512, 512, 3, 3};
const GraphShape channels = per_channel(512);

GraphWindow dilated(std::int64_t d) {
  return {.window = {1, 1}, .stride = {1, 1}, .pad = {d, d}, .dilation = {d, d}};
}

// With a prologue of scale, shift and ReLU where `between` says of which type its result is.
GraphSpec convolution_statistics(Dtype dtype, std::int64_t dilation, std::optional<Dtype> between) {
  GraphSpec g("convolution, statistics", {});
  g.input("x", dtype, image);
  g.input("w", dtype, filters);
  if (between) {
    for (const char* name : {"scale", "shift"}) g.input(name, dtype, channels);
    g.pointwise(GraphOp::multiply, {"x", "scale"}, "a");
    g.pointwise(GraphOp::add, {"a", "shift"}, "b");
    g.pointwise(GraphOp::relu, {"b"}, "c");
    g.inner("c", image, *between);
  }
  g.windowed(GraphOp::convolution, {between ? "c" : "x", "w"}, "y", dilated(dilation));
  g.node(GraphOp::statistics, {"y"}, {"sum", "squares"});
  g.output("y", dtype, image);
  for (const char* name : {"sum", "squares"}) g.output(name, Dtype::f32, channels);
  return g;
}

GraphSpec data_gradient_mask(Dtype dtype, std::int64_t dilation) {
  GraphSpec g("data gradient, ReLU's mask", {});
  g.input("dy", dtype, image);
  g.input("w", dtype, filters);
  g.input("x", dtype, image);
  g.windowed(GraphOp::convolution_data, {"dy", "w"}, "t", dilated(dilation));
  g.inner("t", image);
  g.pointwise(GraphOp::relu_backward, {"t", "x"}, "dx");
  g.output("dx", dtype, image);
  return g;
}

// The mask from z as computed by a normalisation, or by pointwise operations.
GraphSpec masked_norm_backward(Dtype dtype, bool by_normalisation, Dtype between) {
  GraphSpec g("ReLU's mask, normalisation backward", {});
  for (const char* name : {"dy", "x"}) g.input(name, dtype, image);
  for (const char* name : {"gamma", "beta", "mean", "invstd"}) g.input(name, Dtype::f32, channels);
  if (by_normalisation) {
    g.node(GraphOp::norm_inference, {"x", "mean", "invstd", "gamma", "beta"}, {"z"});
  } else {
    g.pointwise(GraphOp::subtract, {"x", "mean"}, "a");
    g.pointwise(GraphOp::multiply, {"a", "invstd"}, "h");
    g.pointwise(GraphOp::multiply, {"h", "gamma"}, "b");
    g.pointwise(GraphOp::add, {"b", "beta"}, "z");
  }
  g.pointwise(GraphOp::relu_backward, {"dy", "z"}, "g");
  g.inner("g", image, between);
  g.node(GraphOp::norm_backward, {"g", "x", "gamma", "mean", "invstd"}, {"dx", "dgamma", "dbeta"});
  g.output("dx", dtype, image);
  for (const char* name : {"dgamma", "dbeta"}) g.output(name, Dtype::f32, channels);
  return g;
}

// The table of docs/performance.md.
TEST_F(PretendedDriverTest, WhichFusionsFindAnEngine) {
  const auto taken = [](const GraphSpec& spec) { EXPECT_EQ(refusal_of(spec), "") << spec.text(); };
  const auto refused = [](const GraphSpec& spec, const std::string& words) {
    EXPECT_NE(refusal_of(spec).find(words), std::string::npos) << refusal_of(spec);
  };
  for (const Dtype dtype : {Dtype::bf16, Dtype::f32}) {
    for (const std::int64_t d : {1, 2, 4}) {
      taken(convolution_statistics(dtype, d, {}));
      taken(convolution_statistics(dtype, d, dtype));
      taken(data_gradient_mask(dtype, d));
    }
    taken(masked_norm_backward(dtype, true, dtype));
    refused(masked_norm_backward(dtype, false, dtype), "CUDNN_NORM_FWD_INFERENCE");
  }
  refused(masked_norm_backward(Dtype::bf16, true, Dtype::f32), "FP8");
  refused(convolution_statistics(Dtype::bf16, 1, Dtype::f32), "is_input_compute_type_match");
  GraphSpec alone("statistics", {});
  alone.input("x", Dtype::bf16, image);
  alone.node(GraphOp::statistics, {"x"}, {"sum", "squares"});
  for (const char* name : {"sum", "squares"}) alone.output(name, Dtype::f32, channels);
  refused(alone, "mmaNodeCount == 0");
}

// Why HAM's graphs are what they are: what would be simpler or move less finds no engine.
TEST_F(PretendedDriverTest, WhatNoEngineTakesOfAnImagesGates) {
  const std::int64_t n = 32, c = 256, side = 56, pixels = side * side;
  for (const Dtype dtype : {Dtype::bf16, Dtype::f32}) {
    GraphSpec over_pixels("sum over the pixels of each image", {});
    over_pixels.input("x", dtype, {n, c, side, side});
    over_pixels.node(GraphOp::sum, {"x"}, {"a"});
    over_pixels.output("a", Dtype::f32, {n, c, 1, 1});
    EXPECT_NE(refusal_of(over_pixels), "");
    GraphSpec in_three("sum in three dimensions", {});
    in_three.input("x", dtype, matrices(n, pixels, c));
    in_three.node(GraphOp::sum, {"x"}, {"s"});
    in_three.output("s", Dtype::f32, matrices(n, pixels, 1));
    EXPECT_NE(refusal_of(in_three).find("!is_NHWC"), std::string::npos);
    GraphSpec after("what follows a sum", {});
    after.input("x", dtype, {n, c, side, side});
    after.node(GraphOp::sum, {"x"}, {"u"});
    after.inner("u", {n, 1, side, side});
    after.pointwise(GraphOp::sigmoid, {"u"}, "s");
    after.output("s", Dtype::f32, {n, 1, side, side});
    EXPECT_NE(refusal_of(after).find("getConsumerNodes().size() != 0"), std::string::npos);
    GraphSpec outer("a value for each pixel times one for each channel", {});
    outer.input("x", dtype, matrices(n, pixels, c));
    outer.input("ds", Dtype::f32, matrices(n, pixels, 1));
    outer.input("w", Dtype::f32, matrices(1, 1, c));
    outer.pointwise(GraphOp::multiply, {"ds", "w"}, "p");
    outer.inner("p", matrices(n, pixels, c));
    outer.pointwise(GraphOp::add, {"x", "p"}, "y");
    outer.output("y", dtype, matrices(n, pixels, c));
    EXPECT_NE(refusal_of(outer).find("Unsupported pointwise pattern"), std::string::npos);
  }
}

TEST_F(PretendedDriverTest, EnginesTakeTheGraphsOfTheBenchmarks) {
  for (const bench::BenchShape& shape : bench::shapes(false)) {
    const cases::PrimitiveCase& c = shape.problem;
    for (const Kernel& kernel : c.primitive->kernels) {
      if (kernel.backend != Backend::cudnn) continue;
      for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) kernel.supports(c.problem(dtype).get());
    }
  }
  for (const std::string& r : source_.without_plans) {
    // Of three bf16 channels, which are not aligned for tensor cores; the kernel has two graphs for them.
    const bool is_known = r.starts_with("conv2d.backward_weights: ") &&
                          r.find("x bf16 8x3x224x224, one = 1") != std::string::npos;
    EXPECT_TRUE(is_known) << r;
  }
}

}  // namespace
}  // namespace fovea
