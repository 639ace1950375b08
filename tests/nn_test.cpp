// nn: initial values, the layers' behaviour, the module tree, and saving and loading weights by name.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>

#include "cases/case.hpp"
#include "kernels/runtime/error.hpp"
#include "nn/init.hpp"
#include "nn/layers.hpp"
#include "nn/safetensors.hpp"
#include "nn/state.hpp"

namespace fovea {
namespace {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea-nn-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct Moments {
  double mean = 0, std = 0, largest = 0;
};

Moments moments_of(const Tensor& tensor) {
  const std::vector<double> v = tensor.to_doubles();
  const auto n = static_cast<double>(v.size());
  Moments m;
  m.mean = std::accumulate(v.begin(), v.end(), 0.0) / n;
  for (const double x : v) {
    m.std += (x - m.mean) * (x - m.mean) / n;
    m.largest = std::max(m.largest, std::abs(x));
  }
  m.std = std::sqrt(m.std);
  return m;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// ---- initial values

struct InitCase {
  const char* name;
  std::function<void(Tensor, const InitKey&)> init;
  double std;
  bool bounded;  // uniform: nothing beyond sqrt(3) std
};

// A filter of 64 outputs, 3x3, 32 inputs: fan_in 288, fan_out 576.
const std::vector<InitCase> init_cases{
    {"kaiming_normal_in", [](Tensor t, const InitKey& k) { kaiming_normal_(t, Fan::in, k); },
     std::sqrt(2 / 288.0), false},
    {"kaiming_normal_out", [](Tensor t, const InitKey& k) { kaiming_normal_(t, Fan::out, k); },
     std::sqrt(2 / 576.0), false},
    {"kaiming_uniform_in", [](Tensor t, const InitKey& k) { kaiming_uniform_(t, Fan::in, k); },
     std::sqrt(2 / 288.0), true},
    {"kaiming_uniform_out", [](Tensor t, const InitKey& k) { kaiming_uniform_(t, Fan::out, k, 1); },
     std::sqrt(1 / 576.0), true},
    {"xavier_normal", [](Tensor t, const InitKey& k) { xavier_normal_(t, k); }, std::sqrt(2 / 864.0), false},
    {"xavier_uniform", [](Tensor t, const InitKey& k) { xavier_uniform_(t, k); }, std::sqrt(2 / 864.0), true},
    {"pytorch_default", [](Tensor t, const InitKey& k) { pytorch_default_(t, 288, k); },
     std::sqrt(1 / 288.0 / 3), true},
};

TEST(Init, HasTheDeviationOfItsKind) {
  for (const InitCase& c : init_cases) {
    SCOPED_TRACE(c.name);
    Tensor t = Tensor::zeros({64, 3, 3, 32}, Dtype::f64);
    c.init(t, {.seed = 3, .name = "a.weight"});
    const Moments m = moments_of(t);
    const double n = static_cast<double>(t.numel());
    EXPECT_NEAR(m.mean, 0, 4 * c.std / std::sqrt(n));
    EXPECT_NEAR(m.std / c.std, 1, 4 / std::sqrt(n));
    if (c.bounded) {
      EXPECT_LE(m.largest, std::sqrt(3.0) * c.std);
    } else {
      EXPECT_GT(m.largest, 3 * c.std);
    }
  }
}

TEST(Init, SingleIsTheDoubleRounded) {
  for (const InitCase& c : init_cases) {
    Tensor single = Tensor::zeros({5, 3, 3, 7}, Dtype::f32), twice = Tensor::zeros({5, 3, 3, 7}, Dtype::f64);
    c.init(single, {.seed = 9, .name = "w"});
    c.init(twice, {.seed = 9, .name = "w"});
    EXPECT_EQ(single.to_doubles(), twice.to(Dtype::f32).to_doubles()) << c.name;
  }
}

TEST(Init, DependsOnSeedAndNameAlone) {
  const auto draw = [](std::uint64_t seed, const std::string& name, std::int64_t count) {
    Tensor t = Tensor::zeros({count}, Dtype::f64);
    normal_(t, 1, {.seed = seed, .name = name});
    return t.to_doubles();
  };
  const std::vector<double> first = draw(1, "a", 101), longer = draw(1, "a", 20000);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), longer.begin()));
  EXPECT_NE(first, draw(1, "b", 101));
  EXPECT_NE(first, draw(2, "a", 101));
  EXPECT_NE(first, draw(1 + (std::uint64_t{1} << 32), "a", 101));
}

TEST(Init, RefusesToGuessFans) {
  EXPECT_NE(message_of([] { fans_of({7}); }).find("no fans"), std::string::npos);
  EXPECT_EQ(fans_of({4, 9}).in, 9);
  EXPECT_EQ(fans_of({4, 9}).out, 4);
}

// ---- layers and the tree

class Net : public Module {
 public:
  explicit Net(Dtype dtype = Dtype::f64, bool swapped = false)
      : conv({.in = 2, .out = 3, .kernel_h = 3, .kernel_w = 1}, dtype),
        bn(3, dtype),
        fc({.in = 3, .out = 2, .as_1x1 = true}, dtype) {
    if (swapped) {
      add_module("fc", fc);
      add_module("block.conv", conv);
    } else {
      add_module("block.conv", conv);
      add_module("fc", fc);
    }
    add_module("bn", bn);
  }
  Conv2d conv;
  BatchNorm2d bn;
  Linear fc;
};

std::vector<std::string> names_of(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> names;
  for (const NamedTensor& t : tensors) names.push_back(t.name);
  return names;
}

std::map<std::string, std::vector<double>> values_of(const Module& module) {
  std::map<std::string, std::vector<double>> values;
  for (const NamedTensor& t : module.state()) values[t.name] = t.tensor.to_doubles();
  return values;
}

TEST(Module, ListsItsTensorsInOrder) {
  const Net net;
  EXPECT_EQ(
      names_of(net.state()),
      (std::vector<std::string>{"block.conv.weight", "block.conv.bias", "fc.weight", "fc.bias", "bn.weight",
                                "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}));
  EXPECT_EQ(net.parameters().size(), 6u);
  EXPECT_EQ(names_of(net.buffers()),
            (std::vector<std::string>{"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}));
  for (const NamedTensor& t : net.parameters()) EXPECT_TRUE(t.tensor.requires_grad()) << t.name;
  for (const NamedTensor& t : net.buffers()) EXPECT_FALSE(t.tensor.requires_grad()) << t.name;
}

TEST(Module, StartsAlikeWhateverTheOrder) {
  Net a(Dtype::f64), b(Dtype::f64, true), other(Dtype::f64);
  a.initialise(5);
  b.initialise(5);
  other.initialise(6);
  EXPECT_EQ(values_of(a), values_of(b));
  EXPECT_NE(values_of(a), values_of(other));
  EXPECT_EQ(a.bn.weight().to_doubles(), std::vector<double>(3, 1.0));
  EXPECT_EQ(a.conv.bias().to_doubles(), std::vector<double>(3, 0.0));
}

TEST(Module, PytorchInitDrawsTheBiasToo) {
  Linear fc({.in = 4, .out = 50, .init = Init::pytorch}, Dtype::f64);
  fc.initialise(1);
  EXPECT_GT(moments_of(fc.bias()).largest, 0.25);
  EXPECT_LE(moments_of(fc.bias()).largest, 0.5);
}

TEST(ImageLinear, IsLinearOfReshapedTensors) {
  ImageLinear layer(2, 3, 4, 5, Init::normal(0.01), Dtype::f64);
  layer.initialise(6);
  const Tensor w = layer.parameters()[0].tensor, b = layer.parameters()[1].tensor;
  Tensor x = cases::random_tensor({7, 2, 3, 4}, 1);
  x.set_requires_grad(true);
  const Tensor dy = cases::random_tensor({7, 5}, 2);
  const auto run = [&](const std::function<Tensor()>& forward) {
    for (Tensor t : {x, w, b}) t.zero_grad();
    const Tensor y = forward();
    y.backward(dy);
    EXPECT_EQ(x.grad().shape(), x.shape());
    EXPECT_EQ(w.grad().shape(), w.shape());
    return std::vector{y.to_doubles(), x.grad().to_doubles(), w.grad().to_doubles(), b.grad().to_doubles()};
  };
  for (const Activation activation : {Activation::none, Activation::relu}) {
    EXPECT_EQ(run([&] { return layer.forward(x, activation); }), run([&] {
                return linear(reshape(x, {7, 24}), reshape(w, {5, 24}), b, activation);
              }));
  }
  EXPECT_NE(message_of([&] {
              layer.forward(cases::random_tensor({7, 3, 2, 4}, 1));
            }).find("x of N,H,W,C and w of out,H,W,C, got 7x3x2x4 and 5x2x3x4"),
            std::string::npos);
}

TEST(BatchNorm2d, CountsBatchesInTrainingOnly) {
  BatchNorm2d bn(2, Dtype::f64);
  bn.initialise(0);
  const auto count = [&] { return bn.buffers()[2].tensor.item(); };
  const Tensor x = Tensor::from<double>(std::vector<double>{1, 10, 3, 30}, {1, 2, 1, 2}, Dtype::f64);
  const std::vector<double> y = bn.forward(x).to_doubles();
  EXPECT_NEAR(y[0], -1, 1e-5);
  EXPECT_NEAR(y[2], 1, 1e-5);
  EXPECT_EQ(count(), 1);
  EXPECT_NEAR(bn.running_mean().to_doubles()[1], 2, 1e-12);               // 0.9 * 0 + 0.1 * 20
  EXPECT_NEAR(bn.running_var().to_doubles()[1], 0.9 + 0.1 * 200, 1e-12);  // the unbiased variance
  bn.set_training(false);
  EXPECT_NEAR(bn.forward(x).to_doubles()[1], (10 - 2) / std::sqrt(20.9 + 1e-5), 1e-12);
  EXPECT_EQ(count(), 1);
}

TEST(Dropout, ActsInTrainingOnly) {
  Dropout dropout(0.5);
  const Tensor x = Tensor::full({1000}, 1, Dtype::f64);
  const std::vector<double> y = dropout.forward(x, 1, 2).to_doubles();
  const auto zeros = std::count(y.begin(), y.end(), 0.0);
  EXPECT_GT(zeros, 400);
  EXPECT_LT(zeros, 600);
  EXPECT_EQ(std::count(y.begin(), y.end(), 2.0), 1000 - zeros);
  EXPECT_EQ(y, dropout.forward(x, 1, 2).to_doubles());
  EXPECT_NE(y, dropout.forward(x, 1, 3).to_doubles());
  dropout.set_training(false);
  EXPECT_EQ(dropout.forward(x, 1, 2).to_doubles(), x.to_doubles());
}

// ---- layouts and files

TEST(Layout, FilterAndBack) {
  std::vector<double> values(2 * 3 * 1 * 4);
  std::iota(values.begin(), values.end(), 0.0);
  const Tensor krsc = Tensor::from<double>(std::span(std::as_const(values)), {2, 3, 1, 4}, Dtype::f64);
  const Tensor kcrs = to_file_layout(krsc, Layout::filter);
  ASSERT_EQ(kcrs.shape(), (Shape{2, 4, 3, 1}));
  for (std::size_t k = 0; k < 2; ++k) {
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 4; ++c) {
        EXPECT_EQ(kcrs.data<double>()[(k * 4 + c) * 3 + r], values[(k * 3 + r) * 4 + c]);
      }
    }
  }
  EXPECT_EQ(from_file_layout(kcrs, Layout::filter, krsc.shape()).to_doubles(), values);
  EXPECT_EQ(from_file_layout(kcrs, Layout::filter, krsc.shape()).shape(), krsc.shape());
}

TEST(Layout, MatrixAndErrors) {
  const Tensor matrix = Tensor::zeros({2, 5}, Dtype::f32);
  EXPECT_EQ(to_file_layout(matrix, Layout::matrix_1x1).shape(), (Shape{2, 5, 1, 1}));
  EXPECT_EQ(from_file_layout(Tensor::zeros({2, 5, 1, 1}, Dtype::f32), Layout::matrix_1x1, {2, 5}).shape(),
            (Shape{2, 5}));
  EXPECT_THROW(from_file_layout(Tensor::zeros({2, 5, 1, 2}, Dtype::f32), Layout::matrix_1x1, {2, 5}), Error);
  EXPECT_THROW(to_file_layout(matrix, Layout::filter), Error);
  EXPECT_THROW(from_file_layout(matrix, Layout::filter, {2, 1, 1, 5}), Error);
  const Tensor over_image = Tensor::zeros({2, 3, 4, 5}, Dtype::f32);
  EXPECT_EQ(to_file_layout(over_image, Layout::image_matrix).shape(), (Shape{2, 60}));
}

TEST(State, RoundTripKeepsEveryBit) {
  const TempDir dir;
  Net a(Dtype::f32), b(Dtype::f32);
  a.initialise(1);
  b.initialise(2);
  a.bn.count_batch();
  save_weights(dir.file("w.safetensors"), a, {{"model", "net"}});
  const LoadReport report = load_weights(dir.file("w.safetensors"), b, true);
  EXPECT_TRUE(report.exact());
  EXPECT_EQ(report.text(), "");
  EXPECT_EQ(report.loaded, names_of(b.state()));
  EXPECT_EQ(values_of(a), values_of(b));
  const SafetensorsFile file = SafetensorsFile::open(dir.file("w.safetensors"));
  EXPECT_EQ(file.metadata().at("model"), "net");
  EXPECT_EQ(file.at("block.conv.weight").shape, (std::vector<std::int64_t>{3, 2, 3, 1}));
  EXPECT_EQ(file.at("fc.weight").shape, (std::vector<std::int64_t>{2, 3, 1, 1}));
  EXPECT_EQ(file.at("bn.num_batches_tracked").dtype, "I64");
}

TEST(State, ConvertsBetweenSingleAndDouble) {
  const TempDir dir;
  Net a(Dtype::f32), b(Dtype::f64), c(Dtype::f32);
  a.initialise(1);
  save_weights(dir.file("a"), a);
  load_weights(dir.file("a"), b, true);
  EXPECT_EQ(values_of(a), values_of(b));
  save_weights(dir.file("b"), b);
  load_weights(dir.file("b"), c, true);
  EXPECT_EQ(values_of(a), values_of(c));
}

TEST(State, StrictListsEverythingAndChangesNothing) {
  const TempDir dir;
  Net net(Dtype::f32);
  net.initialise(1);
  const auto before = values_of(net);
  const std::vector<SafetensorsEntry> entries{
      safetensors_entry("block.conv.weight", {3, 2, 3, 1}, std::vector<float>(18, 4)),
      safetensors_entry("block.conv.bias", {4}, std::vector<float>(4)),
      safetensors_entry("bn.num_batches_tracked", {}, std::vector<float>(1)),
      safetensors_entry("head.weight", {1}, std::vector<float>(1)),
      safetensors_entry("head.bias", {1}, std::vector<float>(1))};
  write_safetensors(dir.file("w"), entries);
  const std::string message = message_of([&] { load_weights(dir.file("w"), net, true); });
  for (const char* part :
       {"fc.weight", "fc.bias", "bn.weight", "bn.running_var", "head.weight", "head.bias",
        "block.conv.bias: file 4, model 3", "bn.num_batches_tracked: file holds F32, model i64"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
  }
  EXPECT_EQ(values_of(net), before);

  const LoadReport report = load_weights(dir.file("w"), net, false);
  EXPECT_EQ(report.loaded, (std::vector<std::string>{"block.conv.weight"}));
  EXPECT_EQ(report.extra.size(), 2u);
  EXPECT_EQ(report.misshapen.size(), 2u);
  EXPECT_EQ(report.missing.size(), 6u);
  EXPECT_EQ(net.conv.weight().to_doubles(), std::vector<double>(18, 4.0));
  EXPECT_EQ(net.fc.weight().to_doubles(), before.at("fc.weight"));
}

/// Parts of DenseNet and Inception under torchvision's names.
class ZooParts : public Module {
 public:
  ZooParts()
      : conv({.in = 2, .out = 2, .kernel_h = 1, .kernel_w = 1, .bias = false}, Dtype::f32),
        norm(2, Dtype::f32),
        auxiliary({.in = 2, .out = 3}, Dtype::f32),
        last({.in = 2, .out = 3}, Dtype::f32) {
    add_module("features.denseblock1.denselayer2.norm1", norm);
    add_module("features.denseblock1.denselayer2.conv1", conv);
    add_module("AuxLogits.fc", auxiliary);
    add_module("classifier", last);
    initialise(1);
  }
  Conv2d conv;
  BatchNorm2d norm;
  Linear auxiliary, last;
};

SafetensorsEntry filled(const std::string& name, std::vector<std::int64_t> shape, float value) {
  std::size_t count = 1;
  for (const std::int64_t d : shape) count *= static_cast<std::size_t>(d);
  return safetensors_entry(name, std::move(shape), std::vector<float>(count, value));
}

// As DenseNet's weights of 2017 are: numbers apart, and no counts.
std::vector<SafetensorsEntry> old_file(std::int64_t classes = 3) {
  const std::string layer = "features.denseblock1.denselayer2.";
  return {filled(layer + "norm.1.weight", {2}, 2),          filled(layer + "norm.1.bias", {2}, 3),
          filled(layer + "norm.1.running_mean", {2}, 4),    filled(layer + "norm.1.running_var", {2}, 5),
          filled(layer + "conv.1.weight", {2, 2, 1, 1}, 6), filled("classifier.weight", {classes, 2}, 7),
          filled("classifier.bias", {classes}, 8)};
}

TEST(State, OldFilesOfTorchvisionFitAsTheyAre) {
  const TempDir dir;
  ZooParts net;
  net.norm.count_batch();
  const auto auxiliary = net.auxiliary.weight().to_doubles();
  write_safetensors(dir.file("w"), old_file());
  const LoadReport report = load_weights(dir.file("w"), net, true);
  EXPECT_TRUE(report.exact());
  EXPECT_EQ(report.loaded.size(), 7u);
  EXPECT_EQ(
      report.text(),
      "missing in the file, as they may be (2): AuxLogits.fc.weight, AuxLogits.fc.bias; they start anew");
  EXPECT_EQ(net.norm.running_var().to_doubles(), std::vector<double>(2, 5.0));
  EXPECT_EQ(net.conv.weight().to_doubles(), std::vector<double>(4, 6.0));
  EXPECT_EQ(net.auxiliary.weight().to_doubles(), auxiliary);
  for (const NamedTensor& named : net.buffers()) {
    if (named.name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(named.tensor.item(), 0);
    }
  }
}

TEST(State, ANameThatIsThereTwiceAndHalfAnAuxiliaryHead) {
  const TempDir dir;
  ZooParts net;
  std::vector<SafetensorsEntry> entries = old_file();
  entries.push_back(filled("features.denseblock1.denselayer2.norm1.bias", {2}, 30));
  entries.push_back(filled("AuxLogits.fc.bias", {3}, 1));
  write_safetensors(dir.file("w"), entries);
  const LoadReport report = load_weights(dir.file("w"), net, false);
  EXPECT_EQ(report.missing, (std::vector<std::string>{"AuxLogits.fc.weight"}));
  EXPECT_EQ(report.extra, (std::vector<std::string>{"features.denseblock1.denselayer2.norm.1.bias"}));
  EXPECT_TRUE(report.left_out.empty());
  EXPECT_EQ(net.norm.bias().to_doubles(), std::vector<double>(2, 30.0));
}

TEST(State, AnotherNumberOfClassesLeavesTheLastLayers) {
  const TempDir dir;
  ZooParts net;
  write_safetensors(dir.file("w"), old_file(1000));
  EXPECT_NE(message_of([&] {
              load_weights(dir.file("w"), net, true, 3);
            }).find("classifier.weight: file 1000x2, model 3x2"),
            std::string::npos);
  const auto before = net.last.weight().to_doubles();
  LoadReport report = load_weights(dir.file("w"), net, false, 3);
  EXPECT_EQ(report.file_classes, 1000);
  EXPECT_EQ(report.last_layers, (std::vector<std::string>{"classifier.weight", "classifier.bias"}));
  EXPECT_TRUE(report.misshapen.empty());
  EXPECT_NE(
      report.text().find(
          "the last layer starts anew (2): classifier.weight, classifier.bias; the file is of 1000 classes"),
      std::string::npos)
      << report.text();
  EXPECT_EQ(net.last.weight().to_doubles(), before);
  // One that differs otherwise, or in another number, is no last layer.
  std::vector<SafetensorsEntry> entries = old_file(1000);
  entries.back() = filled("classifier.bias", {999}, 1);
  entries.push_back(filled("AuxLogits.fc.weight", {1000, 5}, 1));
  entries.push_back(filled("AuxLogits.fc.bias", {1000}, 1));
  write_safetensors(dir.file("w"), entries);
  report = load_weights(dir.file("w"), net, false, 3);
  EXPECT_EQ(report.misshapen.size(), 2u) << report.text();
  EXPECT_EQ(report.last_layers.size(), 2u) << report.text();
}

TEST(State, ALongListIsCountedAndCutShort) {
  const LoadReport report{.missing = std::vector<std::string>(11, "name"), .extra = {"one", "two"}};
  EXPECT_EQ(report.text(),
            "missing in the file (11): name, name, name, name, name, name, name, name and 3 more\n"
            "not in the model (2): one, two");
}

TEST(State, AValueThatDoesNotFitChangesNothing) {
  const TempDir dir;
  Net big(Dtype::f64), net(Dtype::f32);
  big.initialise(1);
  net.initialise(2);
  const auto before = values_of(net);
  Tensor last = big.bn.bias();
  last.fill(1e300);  // finite, but not in a float
  save_weights(dir.file("w"), big);
  EXPECT_THROW(load_weights(dir.file("w"), net, true), Error);
  EXPECT_EQ(values_of(net), before);
}

TEST(State, LoadingThroughASavedGraphIsNoticed) {
  const TempDir dir;
  Net net(Dtype::f64);
  net.initialise(1);
  save_weights(dir.file("w"), net);
  const Tensor y = net.fc.forward(Tensor::full({1, 3}, 1, Dtype::f64).set_requires_grad(true));
  load_weights(dir.file("w"), net, true);
  EXPECT_THROW(y.backward(Tensor::full({1, 2}, 1, Dtype::f64)), Error);
}

}  // namespace
}  // namespace fovea
