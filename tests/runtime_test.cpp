// The runtime without a device: dtypes, the choice of a kernel across devices, what errors say, memory limits,
// and every sentence about a device that cannot be used, from recorded answers of drivers.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/conv2d/conv2d.hpp"
#include "kernels/device_choice.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/runtime/cuda_error.hpp"
#include "kernels/runtime/cuda_status.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/running.hpp"
#include "kernels/runtime/trace.hpp"

namespace fovea {
namespace {

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

// ---- dtypes

TEST(Bf16, TensorsConvertAndCopy) {
  const std::vector<float> values{1.0f, -2.5f, 3.14159265f, 1e30f, 0.0f, -0.0f};
  const Tensor t = Tensor::from<float>(values, {2, 3}, Dtype::bf16);
  EXPECT_EQ(t.view().bytes(), 12);
  EXPECT_EQ(name_of(t.dtype()), "bf16");
  EXPECT_EQ(t.to_doubles()[0], 1.0);
  EXPECT_EQ(t.to_doubles()[1], -2.5);
  EXPECT_EQ(t.to_doubles()[2], 3.140625);  // 8 significant bits
  EXPECT_EQ(t.to(Dtype::f32).to(Dtype::bf16).to_doubles(), t.to_doubles());
  EXPECT_EQ(t.clone().to_doubles(), t.to_doubles());
  EXPECT_EQ(Tensor::full({3}, 0.5, Dtype::bf16).to_doubles(), std::vector<double>(3, 0.5));
  EXPECT_EQ(Tensor::scalar(-7, Dtype::bf16).item(), -7.0);
  EXPECT_EQ(Tensor::zeros({2}, Dtype::bf16).to_doubles(), std::vector<double>(2, 0.0));
  EXPECT_TRUE(std::isnan(Tensor::full({1}, std::nan(""), Dtype::bf16).item()));
  EXPECT_EQ(dtype_of<simt::bf16>(), Dtype::bf16);
  EXPECT_EQ(size_of(Dtype::bf16), 2);
  EXPECT_TRUE(Tensor::zeros({1}, Dtype::bf16).set_requires_grad(true).requires_grad());
}

TEST(Bf16, KernelsOfF32AndF64Refuse) {
  for (const cases::PrimitiveCase& c : cases::primitive_cases()) {
    for (const Kernel& k : c.primitive->kernels) {
      if (device_of(k.backend) != Device::cpu || k.backend == Backend::simt) continue;
      if (c.primitive->op() == "cast") continue;        // it is how bf16 is made
      if (c.primitive->op() == "clip_scale") continue;  // of two numbers in f64, whatever the gradients were
      EXPECT_FALSE(k.supports(c.problem(Dtype::bf16).get())) << c.primitive->name << ", " << k.name;
    }
  }
  const Tensor x = Tensor::zeros({4}, Dtype::bf16);
  const std::string message = message_of([&] { relu(x); });
  EXPECT_EQ(message,
            "relu.forward: no kernel on cpu supports this bf16 problem (there: cpu, reference); use another "
            "dtype or device, or --backend simt, slowly");
  EXPECT_THROW(visit_float(Dtype::bf16, [](auto) {}), Error);
  EXPECT_THROW(parse_dtype("bf16"), UsageError);
}

// ---- choice of a kernel

struct ToyProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  void check() const {}
};
PortList toy_ports(const ToyProblem& p) {
  return {{"x", Role::input, {p.count, 1}, p.dtype}, {"y", Role::output, {p.count, 1}, p.dtype}};
}
Cost toy_cost(const ToyProblem&) { return {}; }

const char* ran = "";
void run_on_host(const ToyProblem&, Ports, Stream) { ran = "host"; }
void run_plain(const ToyProblem&, Ports, Stream) { ran = "plain"; }
void run_on_device(const ToyProblem&, Ports, Stream) { ran = "device"; }
void run_and_fail(const ToyProblem&, Ports, Stream) {
  check_cuda(1, "cudaLaunchKernelExC(&config, kernel, arguments)", "/a/b/toy.cu", 123);
}

constexpr Kernel toy_kernels[] = {
    kernel<&run_on_device, &supports_f32<ToyProblem>>("cluster", Backend::cuda),
    kernel<&run_plain, &supports_f32_f64<ToyProblem>>("plain", Backend::cpu),
    kernel<&run_on_host, &supports_f32<ToyProblem>>("cluster", Backend::simt),
    kernel<&run_on_device, &supports_f32<ToyProblem>>("library", Backend::cudnn),
};
constexpr PrimitiveOf<ToyProblem> toy =
    primitive<ToyProblem, &toy_ports, &toy_cost>("relu.forward", toy_kernels);
constexpr Kernel failing_kernels[] = {
    kernel<&run_and_fail, &supports_f32_f64<ToyProblem>>("cluster", Backend::simt)};
constexpr PrimitiveOf<ToyProblem> failing =
    primitive<ToyProblem, &toy_ports, &toy_cost>("toy.forward", failing_kernels);

std::string chosen(const ToyProblem& problem, Device device) {
  const Kernel& k = selection().choose(toy, &problem, device);
  return std::string(k.name) + "/" + std::string(name_of(k.backend));
}

class Choice : public ::testing::Test {
 protected:
  SelectionScope scope_;
};

TEST_F(Choice, TakesTheFirstRowOfTheDevice) {
  EXPECT_EQ(chosen({}, Device::cpu), "plain/cpu");
  EXPECT_EQ(chosen({}, Device::cuda), "cluster/cuda");
  EXPECT_EQ(chosen({.dtype = Dtype::f64}, Device::cpu), "plain/cpu");
  selection().prefer(Backend::simt);
  EXPECT_EQ(chosen({}, Device::cpu), "cluster/simt");
  EXPECT_EQ(chosen({.dtype = Dtype::f64}, Device::cpu), "plain/cpu");
  EXPECT_EQ(chosen({}, Device::cuda), "cluster/cuda");
  selection().prefer(Backend::cudnn);
  EXPECT_EQ(chosen({}, Device::cuda), "library/cudnn");
}

TEST_F(Choice, SaysWhichKernelsThereAre) {
  const ToyProblem f64{.dtype = Dtype::f64};
  EXPECT_EQ(
      message_of([&] { selection().choose(toy, &f64, Device::cuda); }),
      "relu.forward: no kernel on cuda supports this f64 problem (there: cluster, library); use another "
      "dtype or device");
  const ToyProblem problem;
  EXPECT_EQ(message_of([&] { selection().choose(failing, &problem, Device::cuda); }),
            "toy.forward: there is no kernel on cuda; use --device cpu");
}

TEST_F(Choice, AForcedNameMeansTheRowOfTheDevice) {
  selection().force(toy, "cluster");
  EXPECT_EQ(chosen({}, Device::cpu), "cluster/simt");
  EXPECT_EQ(chosen({}, Device::cuda), "cluster/cuda");
  const ToyProblem f64{.dtype = Dtype::f64};
  EXPECT_EQ(
      message_of([&] { selection().choose(toy, &f64, Device::cpu); }),
      "relu.forward: the forced kernel 'cluster' does not support this f64 problem on cpu; drop --kernel "
      "relu.forward=cluster or change the problem");
  selection().force(toy, "library");
  const ToyProblem problem;
  EXPECT_EQ(message_of([&] { selection().choose(toy, &problem, Device::cpu); }),
            "relu.forward: the forced kernel 'library' does not run on cpu; drop --kernel "
            "relu.forward=library, or use --device cuda");
}

TEST_F(Choice, NobodyGetsTheExecutorWhoDidNotAsk) {
  const ToyProblem problem{.count = 6};
  EXPECT_THROW(selection().choose(failing, &problem, Device::cpu), Error);  // it has no other kernel
  selection().prefer(Backend::simt);
  EXPECT_EQ(selection().choose(failing, &problem, Device::cpu).backend, Backend::simt);
}

// ---- errors of CUDA calls

TEST_F(Choice, AKernelThatThrowsLeavesTheTraceAsItWas) {
  struct Depths : TraceSink {
    std::vector<int> seen;
    void record(const TraceEvent& event) override { seen.push_back(event.depth); }
  } depths;
  TraceSink* before = set_trace_sink(&depths);
  selection().prefer(Backend::simt);
  const Tensor x = Tensor::zeros({4}, Dtype::f32);
  const Tensor column = Tensor::zeros(Shape{1, 1}, Dtype::f32);
  EXPECT_THROW(dispatch(failing, {.count = 1}, {column.view(), column.clone().view()}), Error);
  selection().clear();
  relu(x);
  set_trace_sink(before);
  EXPECT_EQ(depths.seen, std::vector<int>{0});
}

TEST(CudaErrors, NameKernelProblemAndPlace) {
  const SelectionScope scope;
  selection().prefer(Backend::simt);
  const Tensor x = Tensor::zeros({6, 1}, Dtype::f32), y = Tensor::zeros({6, 1}, Dtype::f32);
  const std::string message = message_of([&] { dispatch(failing, {.count = 6}, {x.view(), y.view()}); });
  EXPECT_TRUE(
      message.starts_with("toy.forward (simt kernel 'cluster', x 6x1 f32): cudaLaunchKernelExC failed: "))
      << message;
  EXPECT_TRUE(message.ends_with(" [toy.cu:123]")) << message;
  EXPECT_EQ(what_is_running(), "") << "the scope ended with the error";
}

TEST(CudaErrors, OfAnEarlierKernelListTheLastDispatches) {
  const Tensor x = Tensor::zeros({6, 1}, Dtype::f32), y = Tensor::zeros({6, 1}, Dtype::f32);
  dispatch(toy, {.count = 6}, {x.view(), y.view()});
  EXPECT_STREQ(ran, "plain");
  relu(x);
  const CudaFailure failure{cuda_status::illegal_address, "cudaStreamSynchronize(stream)", "stream.cpp", 7};
  const std::string message = sentence_of(failure, "an illegal memory access was encountered");
  EXPECT_TRUE(message.starts_with(
      "cudaStreamSynchronize failed: an illegal memory access was encountered, raised by a kernel that ran "
      "before this call (the last dispatched, newest first: relu.forward 'cpu', relu.forward 'plain'"))
      << message;
  EXPECT_TRUE(message.ends_with(" [stream.cpp:7]")) << message;
}

TEST(CudaErrors, NameTheFunctionBetweenDispatches) {
  const FunctionScope outer("conv2d");
  EXPECT_EQ(what_is_running(), "conv2d");
  {
    const FunctionScope inner("ham", true);
    EXPECT_EQ(what_is_running(), "backward of 'ham'");
  }
  EXPECT_TRUE(sentence_of({2, "cudaMallocAsync(a)", "x.cpp", 1}, "out of memory").starts_with("conv2d: "));
}

TEST(CudaErrors, OfAnotherArchitectureSayWhatToDo) {
  const std::string message =
      sentence_of({cuda_status::no_kernel_image, "f()", "x.cu", 1}, "no kernel image");
  EXPECT_NE(message.find("CMAKE_CUDA_ARCHITECTURES"), std::string::npos);
  EXPECT_NE(message.find("--device cpu"), std::string::npos);
}

// ---- devices that cannot be used

DriverAnswer healthy() {
  return {.status_text = "no error",
          .devices = 1,
          .driver_version = 13000,
          .runtime_version = 13000,
          .name = "NVIDIA H100 80GB HBM3",
          .major = 9,
          .minor = 0};
}

TEST(Device, SentencesFromRecordedAnswers) {
  EXPECT_EQ(why_unusable(healthy()), "");
  DriverAnswer a = healthy();
  a.built_with_cuda = false;
  EXPECT_EQ(why_unusable(a), "this build has no CUDA backend (the 'cuda' preset has)");
  a = healthy();
  a.status = cuda_status::insufficient_driver;
  a.driver_version = 0;
  EXPECT_EQ(why_unusable(a), "this machine has no NVIDIA driver, and CUDA 13.0 needs one");
  a.driver_version = 12040;
  EXPECT_EQ(why_unusable(a),
            "the NVIDIA driver runs CUDA up to 12.4, and this build needs 13.0: update the driver");
  a = healthy();
  a.status = cuda_status::no_device;
  EXPECT_EQ(why_unusable(a), "this machine has no CUDA device");
  a.status = cuda_status::success;
  a.devices = 0;
  EXPECT_EQ(why_unusable(a), "this machine has no CUDA device");
  a = healthy();
  a.status = 999;
  a.status_text = "unknown error";
  EXPECT_EQ(why_unusable(a), "the CUDA device cannot be used: unknown error (status 999)");
  a = healthy();
  a.name = "Tesla T4";
  a.major = 7;
  a.minor = 5;
  EXPECT_EQ(why_unusable(a),
            "Tesla T4 has compute capability 7.5, and fovea's kernels are compiled for 8.x and 9.0");
  a.major = 10;
  EXPECT_NE(why_unusable(a), "");
  a.major = 8;
  EXPECT_EQ(why_unusable(a), "");
}

TEST(Device, DescribesItself) {
  const DeviceInfo info{.name = "NVIDIA H100",
                        .major = 9,
                        .minor = 0,
                        .driver_version = 13000,
                        .runtime_version = 12080,
                        .multiprocessors = 132,
                        .clock_khz = 1980000,
                        .memory_clock_khz = 2619000,
                        .memory_bus_bits = 5120,
                        .shared_bytes_per_block = 232448,
                        .l2_bytes = 50 << 20,
                        .memory_bytes = std::int64_t{80} << 30};
  EXPECT_EQ(
      to_string(info),
      "NVIDIA H100 (compute capability 9.0, 132 multiprocessors at 1980 MHz, 80 GiB at 2619 MHz on 5120 "
      "bits, L2 50 MiB, shared memory 227 KiB a block, driver for CUDA 13.0, built with CUDA 12.8)");
}

TEST(Device, IsDecidedFromNameMachineAndKernels) {
  const Primitive* const complete[] = {&toy};
  const Primitive* const incomplete[] = {&toy, &failing};
  const auto whole = DeviceUse::whole_model, single = DeviceUse::single_kernels;
  EXPECT_EQ(decide_device("auto", whole, "", complete), Device::cuda);
  EXPECT_EQ(decide_device("auto", whole, "", incomplete), Device::cpu);
  EXPECT_EQ(decide_device("auto", whole, "there is none", complete), Device::cpu);
  EXPECT_EQ(decide_device("cpu", whole, "", complete), Device::cpu);
  EXPECT_EQ(decide_device("cuda", whole, "", complete), Device::cuda);
  EXPECT_EQ(decide_device("cuda", single, "", incomplete), Device::cuda);
  EXPECT_EQ(
      message_of([&] { decide_device("cuda", whole, "", incomplete); }),
      "toy.forward has no kernel on cuda in this build, so no whole model runs there; use --device cpu");
  EXPECT_EQ(message_of([&] { decide_device("cuda", single, "there is none", complete); }),
            "there is none; use --device cpu");
  EXPECT_THROW(decide_device("tpu", whole, "", complete), UsageError);
}

// ---- memory

class Memory : public ::testing::Test {
 protected:
  ~Memory() override { set_memory_limit(Device::cpu, 0); }
};

TEST_F(Memory, LimitIsKeptAndSaid) {
  const std::int64_t before = memory_use().current;
  set_memory_limit(Device::cpu, before + (1 << 20));
  const Tensor x = Tensor::zeros({1, 64, 64, 16}, Dtype::f32);  // 256 KiB
  const Tensor w = Tensor::zeros({64, 1, 1, 16}, Dtype::f32);   // y: 1 MiB
  EXPECT_EQ(device_memory_info(Device::cpu).total, before + (1 << 20));
  EXPECT_EQ(device_memory_info(Device::cpu).free, (1 << 20) - (64 * 64 * 16 * 4) - 64 * 16 * 4);
  try {
    conv2d(x, w, {});
    FAIL() << "nothing was thrown";
  } catch (const OutOfMemory& error) {
    const MemoryRequest& r = error.request();
    EXPECT_EQ(r.what, "conv2d");
    EXPECT_EQ(r.shape, (Shape{1, 64, 64, 64}));
    EXPECT_EQ(r.dtype, Dtype::f32);
    EXPECT_EQ(r.bytes, 1 << 20);
    EXPECT_EQ(r.in_use, memory_use().current);
    EXPECT_EQ(r.most, before + (1 << 20));
    EXPECT_TRUE(
        std::string(error.what())
            .starts_with("conv2d: out of memory on cpu: a tensor of 1x64x64x64 f32 needs 1.0 MiB, and "))
        << error.what();
  }
  set_memory_limit(Device::cpu, 0);
  EXPECT_NO_THROW(conv2d(x, w, {}));
}

TEST_F(Memory, WhatAScopeTakesAndGivesBackIsNotInThePeak) {
  reset_peak_memory();
  const std::int64_t before = memory_use().peak;
  std::optional<Storage> kept;
  {
    const PeakScope scope(Device::cpu);
    const Storage passing(1 << 20);
    EXPECT_EQ(memory_use().peak, before + (1 << 20));
    kept.emplace(std::int64_t{64});
  }
  EXPECT_EQ(memory_use().peak, before + 64) << "and what stays is";
}

TEST_F(Memory, TheBackwardNamesItself) {
  Tensor x = Tensor::zeros({1024}, Dtype::f32).set_requires_grad(true);
  const Tensor y = sigmoid(multiply(x, x));
  const Tensor seed = Tensor::zeros({1024}, Dtype::f32);
  set_memory_limit(Device::cpu, memory_use().current);
  EXPECT_TRUE(
      message_of([&] { y.backward(seed); }).starts_with("backward of 'sigmoid': out of memory on cpu"));
}

TEST(Bytes, AreReadAndWritten) {
  EXPECT_EQ(parse_bytes("2GiB"), std::int64_t{2} << 30);
  EXPECT_EQ(parse_bytes("1.5 MiB"), 3 << 19);
  EXPECT_EQ(parse_bytes("64KiB"), 65536);
  EXPECT_EQ(parse_bytes("1000"), 1000);
  EXPECT_EQ(parse_bytes("1000 bytes"), 1000);
  for (const char* bad : {"", "GiB", "2GB", "-1", "2 GiBs", "nan", "1e30GiB"}) {
    EXPECT_THROW(parse_bytes(bad), UsageError) << bad;
  }
  EXPECT_EQ(bytes_text(17), "17 bytes");
  EXPECT_EQ(bytes_text(3 << 19), "1.5 MiB");
  EXPECT_EQ(bytes_text(std::int64_t{5} << 29), "2.50 GiB");
}

}  // namespace
}  // namespace fovea
