// A small network on a device: the emulated one where the build has no CUDA, whose memory faults under the host's
// hands. There the kernels are the host executor's, so every bit must be that of --backend simt.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/memory.hpp"
#include "nn/layers.hpp"
#include "nn/optimizer.hpp"

namespace fovea {
namespace {

const bool asked = setenv("FOVEA_EMULATE_DEVICE", "1", 1) == 0;

class EmulatedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << "no device";
  }
};

/// Two convolutions, one with batch norm and ReLU, one with ReLU alone, pooled and classified.
class Net : public Module {
 public:
  explicit Net(Dtype dtype)
      : conv1_({.in = 3, .out = 8, .options = {.pad_h = 1, .pad_w = 1}, .bias = false}, dtype),
        bn_(8, dtype),
        conv2_({.in = 8, .out = 16, .options = {.stride_h = 2, .stride_w = 2}}, dtype),
        fc_({.in = 16, .out = 3}, dtype) {
    add_module("conv1", conv1_);
    add_module("bn", bn_);
    add_module("conv2", conv2_);
    add_module("fc", fc_);
    initialise(5);
  }

  Tensor forward(const Tensor& x) {
    const Tensor h = max_pool(bn_.forward(conv1_.forward(x), Activation::relu), {});
    return fc_.forward(global_avg_pool(conv2_.forward(h, Activation::relu)));
  }

 private:
  Conv2d conv1_;
  BatchNorm2d bn_;
  Conv2d conv2_;
  Linear fc_;
};

struct Trace {
  std::vector<double> losses, norms;
  std::vector<std::vector<double>> values;  // logits, gradients and state of each step
};

Trace train(Device device, Dtype dtype, bool amp) {
  Net net(dtype);
  net.to(device);
  Optimizer optimizer(net.parameters(), {.clip_norm = 0.5});
  const Tensor images =
      cases::random_tensor({4, 9, 9, 3}, 1, Dtype::f64).to(amp ? Dtype::bf16 : dtype).to(device);
  const Tensor labels = Tensor::from<std::int64_t>(std::vector<std::int64_t>{0, 2, 1, 0}, {4}, Dtype::i64);
  Trace trace;
  for (int step = 0; step < 3; ++step) {
    Tensor x = images.detach();
    x.set_requires_grad(true);
    optimizer.zero_grad();
    const Tensor logits = net.forward(x);
    const Tensor loss = cross_entropy(logits, labels, {.label_smoothing = 0.1, .class_weights = {}});
    loss.backward();
    EXPECT_EQ(x.grad().dtype(), x.dtype());
    trace.values.push_back(logits.to_doubles());
    trace.values.push_back(x.grad().to_doubles());
    for (const NamedTensor& p : net.parameters()) {
      EXPECT_EQ(p.tensor.grad().device(), device) << p.name;
      EXPECT_EQ(p.tensor.grad().dtype(), dtype) << p.name;
      trace.values.push_back(p.tensor.grad().to_doubles());
    }
    trace.losses.push_back(loss.item());
    trace.norms.push_back(std::sqrt(optimizer.start_step(0.05).item()));
    for (const NamedTensor& s : net.state()) trace.values.push_back(s.tensor.to_doubles());
  }
  return trace;
}

Trace train_on_executor(Dtype dtype, bool amp) {
  const SelectionScope scope;
  selection().prefer(Backend::simt);
  return train(Device::cpu, dtype, amp);
}

TEST_F(EmulatedTest, TrainsWithTheBitsOfTheExecutor) {
  if (device_note().empty()) GTEST_SKIP() << "the device is a real one";
  for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
    for (const bool amp : {false, true}) {
      if (amp && dtype != Dtype::f32) continue;
      const Trace device = train(Device::cuda, dtype, amp), host = train_on_executor(dtype, amp);
      EXPECT_EQ(device.losses, host.losses) << name_of(dtype) << amp;
      EXPECT_EQ(device.norms, host.norms) << name_of(dtype) << amp;
      EXPECT_EQ(device.values, host.values) << name_of(dtype) << amp;
    }
  }
}

TEST_F(EmulatedTest, TrainsAsTheCpuDoes) {
  const Trace truth = train(Device::cpu, Dtype::f64, false);
  const Trace f64 = train(Device::cuda, Dtype::f64, false), f32 = train(Device::cuda, Dtype::f32, false),
              amp = train(Device::cuda, Dtype::f32, true);
  for (std::size_t i = 0; i < truth.losses.size(); ++i) {
    EXPECT_NEAR(f64.losses[i], truth.losses[i], 1e-12);
    EXPECT_NEAR(f32.losses[i], truth.losses[i], 1e-5);
    EXPECT_NEAR(amp.losses[i], truth.losses[i], 2e-2);
    EXPECT_NEAR(amp.norms[i], truth.norms[i], 5e-2 * truth.norms[i]);
  }
  EXPECT_LT(truth.losses.back(), truth.losses.front());
}

TEST_F(EmulatedTest, BroadcastsRowsAndMasksLieWithTheirInputs) {
  for (const Device device : {Device::cpu, Device::cuda}) {
    const Tensor rows = Tensor::from<std::int64_t>(std::vector<std::int64_t>{2, 0}, {2}, Dtype::i64);
    Tensor x = Tensor::from<double>(std::vector<double>{1, 2, 3, 4, 5, 6}, {3, 2}, Dtype::f32, device);
    x.set_requires_grad(true);
    const Tensor y = scatter_rows(dropout(gather_rows(x, rows), 0.5, 1, 2), rows, 4);
    const Tensor z = concat({multiply(y, Tensor::scalar(2, Dtype::f32, device)), add(y, y), sigmoid(y)});
    z.backward(Tensor::full(z.shape(), 1, Dtype::f32, device));
    EXPECT_EQ(x.grad().device(), device);
    EXPECT_EQ(z.shape(), (Shape{4, 6}));
    EXPECT_EQ(x.grad().to_doubles()[2], 0) << "a row that was not taken";
  }
}

TEST_F(EmulatedTest, MovesInPlace) {
  Net net(Dtype::f32);
  const std::vector<NamedTensor> before = net.state();
  std::vector<std::vector<double>> values;
  for (const NamedTensor& n : before) values.push_back(n.tensor.to_doubles());
  net.to(Device::cuda);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].tensor.device(), before[i].tensor.dtype() == Dtype::i64 ? Device::cpu : Device::cuda);
    EXPECT_EQ(before[i].tensor.to_doubles(), values[i]);
  }
  net.initialise(5);
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].tensor.to_doubles(), values[i]);
  net.to(Device::cpu);
  EXPECT_EQ(before[0].tensor.device(), Device::cpu);
  EXPECT_EQ(before[0].tensor.to_doubles(), values[0]);
}

TEST_F(EmulatedTest, ManySmallCopiesKeepTheirOwnBytes) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < 300; ++i) {
    const std::vector<double> values{static_cast<double>(i), -static_cast<double>(i)};
    tensors.push_back(Tensor::from<double>(values, {2}, Dtype::f64, Device::cuda));
  }
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(tensors[static_cast<std::size_t>(i)].to_doubles()[1], -static_cast<double>(i));
  }
}

TEST(Shadow, IsTheParameterInBf16) {
  for (const Device device : {Device::cpu, Device::cuda}) {
    if (device == Device::cuda && !cuda_available()) continue;
    Tensor w = cases::random_tensor({7, 3}, 3, Dtype::f32).to(device);
    w.set_requires_grad(true);
    EXPECT_FALSE(bool(w.kept_shadow()));
    const auto rounded = [&] { return w.to(Dtype::bf16).to_doubles(); };
    EXPECT_EQ(w.bf16_shadow().to_doubles(), rounded());
    EXPECT_EQ(w.bf16_shadow().device(), device);
    w.fill(1.0 / 3);
    EXPECT_EQ(w.bf16_shadow().to_doubles(), rounded()) << "made anew after a change";
    Optimizer optimizer({{.name = "w", .tensor = w}}, {});
    w.set_grad(Tensor::full(w.shape(), 2, Dtype::f32, device));
    const std::uint32_t version = w.bf16_shadow().storage()->version;
    optimizer.step(0.1);
    EXPECT_EQ(w.kept_shadow().to_doubles(), rounded()) << "the optimizer writes it";
    EXPECT_GT(w.kept_shadow().storage()->version, version);
    EXPECT_EQ(w.bf16_shadow().storage()->version, version + 1) << "and it is not made again";
  }
}

TEST_F(EmulatedTest, AnImagesWeightKeepsItsCopyInBf16) {
  ImageLinear layer(2, 3, 4, 5, Init::normal(0.01), Dtype::f32);
  layer.initialise(6);
  layer.to(Device::cuda);
  Optimizer optimizer(layer.parameters(), {});
  const Tensor w = layer.parameters()[0].tensor;
  const Tensor x = cases::random_tensor({7, 2, 3, 4}, 1, Dtype::f32).to(Dtype::bf16).to(Device::cuda);
  const auto step = [&] {
    optimizer.zero_grad();
    const Tensor y = layer.forward(x, Activation::relu);
    y.backward(Tensor::full(y.shape(), 1, Dtype::bf16, Device::cuda));
    optimizer.step(0.1);
  };
  step();
  ASSERT_TRUE(bool(w.kept_shadow()));
  EXPECT_EQ(w.grad().shape(), w.shape());
  EXPECT_EQ(w.grad().dtype(), Dtype::f32);
  EXPECT_EQ(w.kept_shadow().to_doubles(), w.to(Dtype::bf16).to_doubles()) << "the optimizer wrote it";
  const std::uint32_t version = w.kept_shadow().storage()->version;
  step();
  EXPECT_EQ(w.kept_shadow().storage()->version, version + 1) << "by the optimizer alone";
}

}  // namespace
}  // namespace fovea
