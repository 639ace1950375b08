// cuDNN itself, where no device is: it loads, and every graph that a kernel asks for, over all cases of the tests and all
// shapes of the benchmarks, is one that it validates and builds for an H200 that is only described. Which engines it then
// offers is less than on the device, since those that compile need a driver.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

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
  std::vector<std::string> refused;

  std::string why_unusable() override { return ""; }
  PlanFileHeader header() override { return {"described", cudnn::version(), "none"}; }
  std::unique_ptr<PlannedOp> plan(const GraphSpec& spec) override {
    ++graphs;
    try {
      with_plans += !cudnn::plan(spec, h200)->plans().empty();
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

// The documented fusions that no kernel here uses, since none is documented for bf16 or f32, are valid graphs all the same.
TEST_F(CudnnTest, BuildsTheDocumentedFusions) {
  const GraphShape x{8, 64, 56, 56}, w{128, 64, 3, 3}, y{8, 128, 56, 56}, c = per_channel(128);
  const GraphWindow window{.window = {1, 1}, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}};
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    GraphSpec forward("scale, bias, ReLU, convolution, statistics", {});
    forward.input("x", dtype, x);
    forward.input("w", dtype, w);
    forward.input("scale", Dtype::f32, per_channel(64));
    forward.input("bias", Dtype::f32, per_channel(64));
    forward.pointwise(GraphOp::multiply, {"x", "scale"}, "a");
    forward.pointwise(GraphOp::add, {"a", "bias"}, "b");
    forward.pointwise(GraphOp::relu, {"b"}, "c");
    forward.windowed(GraphOp::convolution, {"c", "w"}, "y", window);
    forward.node(GraphOp::statistics, {"y"}, {"sum", "squares"});
    forward.output("y", dtype, y);
    forward.output("sum", Dtype::f32, c);
    forward.output("squares", Dtype::f32, c);
    EXPECT_NO_THROW(cudnn::plan(forward, h200));

    GraphSpec finalize("statistics, finalize", {});
    for (const char* name : {"sum", "squares", "gamma", "beta", "mean", "var"})
      finalize.input(name, Dtype::f32, c);
    finalize.constant("eps", 1e-5);
    finalize.constant("momentum", 0.1);
    finalize.constant("count", 8 * 56 * 56, Dtype::i64);
    finalize.node(GraphOp::statistics_finalize,
                  {"sum", "squares", "gamma", "beta", "mean", "var", "eps", "momentum", "count"},
                  {"scale", "shift", "batch_mean", "invstd", "next_mean", "next_var"});
    for (const char* name : {"scale", "shift", "batch_mean", "invstd", "next_mean", "next_var"}) {
      finalize.output(name, Dtype::f32, c);
    }
    EXPECT_FALSE(cudnn::plan(finalize, h200)->plans().empty());

    GraphSpec backward("data gradient, ReLU's mask", {});
    backward.input("dy", dtype, y);
    backward.input("w", dtype, w);
    backward.input("x", dtype, x);
    backward.windowed(GraphOp::convolution_data, {"dy", "w"}, "t", window);
    backward.inner("t", x);
    backward.pointwise(GraphOp::relu_backward, {"t", "x"}, "dx");
    backward.output("dx", dtype, x);
    EXPECT_NO_THROW(cudnn::plan(backward, h200));
  }
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

}  // namespace
}  // namespace fovea
