// The zoo and HM-VGG: names and shapes, keys, sizes, missing modalities, checkpoints, and the directional
// derivative of the whole network in fp64. (That its values are right is parity_test.py's part.)
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>

#include "kernels/runtime/error.hpp"
#include "models/hm_vgg.hpp"
#include "models/zoo.hpp"
#include "nn/init.hpp"
#include "nn/state.hpp"

namespace fovea {
namespace {

using Keys = std::vector<std::pair<std::string, std::string>>;

ModelConfig config_of(const Keys& keys, Dtype dtype = Dtype::f32, std::uint64_t seed = 1) {
  ModelConfig config;
  config.dtype = dtype;
  config.seed = seed;
  for (const auto& [key, value] : keys) set_model_key(config, key, value);
  return config;
}

template <class E = Error>
std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "no error";
}

Tensor random_image(const ModelConfig& config, const std::string& modality, std::int64_t n, std::int64_t h,
                    std::int64_t w, std::uint64_t seed = 7) {
  Tensor image = Tensor::zeros({n, h, w, config.channels_of(modality)}, config.dtype);
  normal_(image, 1, {.seed = seed, .name = modality});
  return image;
}

ModelInput random_input(const ModelConfig& config, std::int64_t n, std::int64_t size = 32) {
  ModelInput input;
  for (const std::string& m : config.modalities)
    input.images.push_back(random_image(config, m, n, size, size));
  return input;
}

Tensor labels(std::int64_t n) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(i % 3);
  return Tensor::from<std::int64_t>(std::span(std::as_const(values)), {n}, Dtype::i64);
}

std::vector<std::string> lines_of(const Module& module) {
  std::vector<std::string> lines;
  for (const NamedTensor& t : module.state()) {
    lines.push_back(t.name + " " + to_string(file_shape(t.tensor.shape(), t.layout)));
  }
  return lines;
}

/// The part of hm-vgg.md's table below the backbone, as "name shape" lines.
class Expected {
 public:
  std::vector<std::string> lines;

  void line(const std::string& name, const std::string& shape) { lines.push_back(name + " " + shape); }
  void layer(const std::string& name, const std::string& weight, int bias) {
    line(name + ".weight", weight);
    line(name + ".bias", std::to_string(bias));
  }
  void bn(const std::string& name, int c) {
    for (const char* const part : {".weight", ".bias", ".running_mean", ".running_var"}) {
      line(name + part, std::to_string(c));
    }
    line(name + ".num_batches_tracked", "scalar");
  }
  void conv_bn(const std::string& name, int out, int in) {
    line(name + ".conv.weight", filter(out, in));
    bn(name + ".bn", out);
  }
  void ham(const std::string& name, int c) {
    layer(name + ".spatial", "1x" + std::to_string(c) + "x1x1", 1);
    layer(name + ".fc1", std::to_string(c / 16) + "x" + std::to_string(c), c / 16);
    layer(name + ".fc2", std::to_string(c) + "x" + std::to_string(c / 16), c);
  }
  static std::string filter(int out, int in) {
    return std::to_string(out) + "x" + std::to_string(in) + "x3x3";
  }
};

TEST(HmVgg, HasTheNamesAndShapesOfTheTable) {
  Expected e;
  const int index[] = {0, 3, 6, 8, 11, 13, 16, 18}, out[] = {64, 128, 256, 256, 512, 512, 512, 512};
  for (int i = 0, in = 3; i < 8; in = out[i++]) {
    e.layer("fundus.features." + std::to_string(index[i]), Expected::filter(out[i], in), out[i]);
  }
  e.ham("fundus.ham3", 256);
  e.ham("fundus.ham4", 512);
  e.ham("fundus.ham5", 512);
  e.conv_bn("fundus.down4", 512, 512);
  e.conv_bn("fundus.down3.0", 512, 256);
  e.conv_bn("fundus.down3.1", 512, 512);
  for (const char* const mlrm : {"fundus.mlrm1", "fundus.mlrm2"}) {
    for (const char* const j : {"0", "1", "2"}) e.conv_bn(std::string(mlrm) + ".branches." + j, 512, 512);
  }
  e.layer("fundus.shortcut", "512x512x1x1", 512);
  e.layer("classifier.0", "64x512", 64);
  e.layer("classifier.2", "3x64", 3);

  const auto model = make_model(config_of({}));
  EXPECT_EQ(lines_of(*model), e.lines);
  std::int64_t count = 0;
  for (const NamedTensor& t : model->parameters()) count += t.tensor.numel();
  EXPECT_EQ(count, 29655766);  // the PyTorch twin's
}

struct NamesCase {
  Keys keys;
  std::vector<std::string> there, absent;
};

TEST(HmVgg, HasTheNamesOfItsOptions) {
  const std::vector<NamesCase> cases{
      {{{"backbone", "vgg13"}, {"bn", "true"}},
       {"fundus.features.1.running_mean 64", "fundus.features.3.weight 64x64x3x3",
        "fundus.features.31.weight 512x512x3x3", "fundus.features.32.num_batches_tracked scalar"},
       {"fundus.features.34.weight 512x512x3x3"}},
      {{{"backbone", "vgg19"}}, {"fundus.features.34.bias 512"}, {"fundus.features.36.bias 512"}},
      {{{"mlrm.fuse", "concat"}, {"mlrm.rates", "2,5"}},
       {"fundus.mlrm1.branches.1.conv.weight 512x512x3x3", "fundus.mlrm1.merge.weight 512x1024x1x1",
        "fundus.mlrm2.merge.bias 512"},
       {"fundus.mlrm1.branches.2.conv.weight 512x512x3x3"}},
      {{{"taps", "2,3,4"}},
       {"fundus.ham2.spatial.weight 1x128x1x1", "fundus.down3.conv.weight 512x256x3x3",
        "fundus.down2.0.conv.weight 256x128x3x3", "fundus.down2.1.conv.weight 512x256x3x3"},
       {"fundus.ham5.fc1.bias 32", "fundus.down4.conv.weight 512x512x3x3"}},
      {{{"taps", "1,2,3"}, {"classes", "5"}},
       {"fundus.shortcut.weight 256x512x1x1", "fundus.mlrm1.branches.0.conv.weight 256x256x3x3",
        "classifier.0.weight 64x256", "classifier.2.weight 5x64", "fundus.features.18.weight 512x512x3x3"},
       {}},
      {{{"modalities", "vf,oct"}, {"oct.slices", "7"}},
       {"vf.features.0.weight 64x1x3x3", "oct.features.0.weight 64x7x3x3", "classifier.0.weight 64x1024"},
       {"fundus.shortcut.bias 512"}},
      {{{"modalities", "fundus,oct,vf"}, {"fusion", "early"}},
       {"early.features.0.weight 64x7x3x3", "classifier.0.weight 64x512"},
       {"fundus.shortcut.bias 512"}}};
  for (const NamesCase& c : cases) {
    SCOPED_TRACE(c.keys[0].first + "=" + c.keys[0].second);
    const std::vector<std::string> lines = lines_of(*make_hm_vgg(config_of(c.keys)));
    const auto has = [&](const std::string& l) {
      return std::find(lines.begin(), lines.end(), l) != lines.end();
    };
    for (const std::string& l : c.there) EXPECT_TRUE(has(l)) << l;
    for (const std::string& l : c.absent) EXPECT_FALSE(has(l)) << l;
  }
}

// ---- configuration

TEST(ModelConfig, KeysRoundTrip) {
  const Keys keys{
      {"classes", "4"},        {"backbone", "vgg16"},       {"bn", "true"},
      {"taps", "2,3,4"},       {"ham.variant", "scse"},     {"mlrm.rates", "1,3,5"},
      {"mlrm.fuse", "concat"}, {"modalities", "fundus,vf"}, {"fusion", "early"},
      {"shortcut", "false"},   {"oct.slices", "5"},         {"inception.transform_input", "true"}};
  EXPECT_EQ(model_keys(config_of(keys)), keys);
  EXPECT_EQ(model_keys(ModelConfig{}), (Keys{{"classes", "3"},
                                             {"backbone", "vgg11"},
                                             {"bn", "false"},
                                             {"taps", "3,4,5"},
                                             {"ham.variant", "paper"},
                                             {"mlrm.rates", "1,2,4"},
                                             {"mlrm.fuse", "sum"},
                                             {"modalities", "fundus"},
                                             {"fusion", "late"},
                                             {"shortcut", "true"},
                                             {"oct.slices", "3"},
                                             {"inception.transform_input", "false"}}));
  EXPECT_EQ(model_keys(config_of({{"mlrm.rates", "none"}}))[5].second, "none");
  EXPECT_EQ(config_of({{"mlrm.rates", " 1, 2 "}}).mlrm_rates, (std::vector<std::int64_t>{1, 2}));
}

TEST(Loss, AuxiliaryHeadsCountWithTheirWeights) {
  const Tensor labels = Tensor::from<std::int64_t>(std::vector<std::int64_t>{2, 0}, {2}, Dtype::i64);
  std::vector<Tensor> logits;
  for (std::uint64_t i = 0; i < 3; ++i) {
    logits.push_back(Tensor::empty({2, 3}, Dtype::f64));
    normal_(logits.back(), 1, {.seed = i, .name = "logits"});
    logits.back().set_requires_grad(true);
  }
  const double alone[] = {cross_entropy(logits[0], labels).item(), cross_entropy(logits[1], labels).item(),
                          cross_entropy(logits[2], labels).item()};
  EXPECT_EQ(loss_of(logits[0], {}, labels).item(), alone[0]);
  const Tensor loss = loss_of(logits[0], {{logits[1], 0.4}, {logits[2], 2}}, labels);
  EXPECT_NEAR(loss.item(), alone[0] + 0.4 * alone[1] + 2 * alone[2], 1e-12);
  loss.backward();
  const std::vector<double> got = logits[1].grad().to_doubles();
  logits[1].zero_grad();
  cross_entropy(logits[1], labels).backward();
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], 0.4 * logits[1].grad().to_doubles()[i], 1e-12);
}

struct BadCase {
  Keys keys;
  const char* part;  // of the message
};

TEST(ModelConfig, RefusesWhatItCannotMean) {
  const std::vector<BadCase> cases{{{{"mlrm.rate", "1"}}, "did you mean 'mlrm.rates'"},
                                   {{{"backbone", "vgg12"}}, "'vgg11' or 'vgg13'"},
                                   {{{"backbone", "resnet18"}}, "known: vgg11"},
                                   {{{"bn", "yes"}}, "'yes' is neither true nor false"},
                                   {{{"taps", "3,4,six"}}, "'six' is not a whole number"},
                                   {{{"taps", "3,4"}}, "three consecutive"},
                                   {{{"taps", "4,5,6"}}, "use 1,2,3 or 2,3,4 or 3,4,5"},
                                   {{{"taps", "3,5,4"}}, "three consecutive"},
                                   {{{"mlrm.rates", ""}}, "whole number"},
                                   {{{"mlrm.rates", "0,1"}}, "'0' is not a whole number of at least 1"},
                                   {{{"mlrm.rates", "1,2,3,4,5"}}, "one to four dilations"},
                                   {{{"mlrm.rates", "1e3"}}, "whole number"},
                                   {{{"mlrm.fuse", "add"}}, "'add' is not known"},
                                   {{{"ham.variant", "cbam"}}, "'cbam' is not known"},
                                   {{{"modalities", "fundus,octa"}}, "did you mean 'oct'"},
                                   {{{"modalities", "vf,fundus,vf"}}, "'vf' is named twice"},
                                   {{{"fusion", "lat"}}, "did you mean 'late'"},
                                   {{{"modalities", "oct"}, {"oct.slices", "5000"}}, "oct.slices = 5000"},
                                   {{{"classes", "1"}}, "classes = 1"},
                                   {{{"classes", "99999999999999999999"}}, "whole number"}};
  for (const BadCase& c : cases) {
    const std::string message = message_of<UsageError>([&] { make_model(config_of(c.keys)); });
    EXPECT_NE(message.find(c.part), std::string::npos) << c.keys.back().second << ": " << message;
  }
  ModelConfig config;
  config.name = "hm-vg";
  EXPECT_NE(message_of<UsageError>([&] { make_model(config); }).find("did you mean 'hm-vgg'"),
            std::string::npos);
}

TEST(HmVgg, NamesTheNearestSizeThatWorks) {
  const auto model = make_hm_vgg(config_of({}));
  for (const auto& [h, w] :
       std::vector<std::pair<int, int>>{{224, 224}, {32, 32}, {67, 83}, {35, 512}, {1634, 1634}}) {
    EXPECT_NO_THROW(model->check_input_size(h, w)) << h << "x" << w;
  }
  const std::vector<std::tuple<int, int, const char*>> refused{{100, 90, "is 99 x 96"},
                                                               {36, 224, "is 35 x 224"},
                                                               {31, 16, "is 32 x 32"},
                                                               {64, 46, "is 64 x 48"},
                                                               {-5, 0, "is 32 x 32"}};
  for (const auto& [h, w, part] : refused) {
    const std::string message = message_of<UsageError>([&, h = h, w = w] { model->check_input_size(h, w); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  // The rule itself, against the sizes that each layer makes.
  const ModelConfig config;
  for (int size = 32; size < 300; ++size) {
    const int r3 = size / 2 / 2, r4 = r3 / 2, r5 = r4 / 2;
    const auto conv3 = [](int s) { return (s + 2 - 3) / 2 + 1; };
    EXPECT_EQ(hm_vgg_size_works(config, size), conv3(r4) == r5 && conv3(conv3(r3)) == r5) << size;
  }
  EXPECT_FALSE(hm_vgg_size_works(config, 16));
  EXPECT_TRUE(hm_vgg_size_works(config_of({{"taps", "1,2,3"}}), 36));
}

// ---- behaviour

/// Models of one seed are costly to make, so that the tests below share them; each leaves them in inference
/// mode.
Model& shared_model(const std::string& kind) {
  static std::map<std::string, std::unique_ptr<Model>> models;
  std::unique_ptr<Model>& model = models[kind];
  if (!model) {
    Keys keys;
    if (kind != "fundus") keys = {{"modalities", "fundus,vf"}, {"fusion", kind}};
    model = make_model(config_of(keys));
  }
  model->set_training(false);
  for (NamedTensor& t : model->parameters()) t.tensor.zero_grad();
  return *model;
}

std::vector<double> row(const Tensor& logits, std::int64_t i) {
  const std::vector<double> all = logits.to_doubles();
  const std::int64_t k = logits.shape()[1];
  return {all.begin() + i * k, all.begin() + (i + 1) * k};
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_LE(std::abs(a[i] - b[i]), tolerance * (1 + std::abs(b[i]))) << a[i] << " " << b[i];
  }
}

TEST(HmVgg, CapturesItsNamedMaps) {
  Model& model = shared_model("fundus");
  std::vector<std::pair<std::string, Tensor>> maps;
  ForwardContext context;
  context.capture = &maps;
  model.forward(random_input(model.config(), 1, 64), context);
  std::map<std::string, std::string> shapes;
  for (const auto& [name, tensor] : maps) shapes[name] = to_string(tensor.shape());
  EXPECT_EQ(shapes, (std::map<std::string, std::string>{{"fundus.H3", "1x16x16x256"},
                                                        {"fundus.H4", "1x8x8x512"},
                                                        {"fundus.H5", "1x4x4x512"},
                                                        {"fundus.R5", "1x4x4x512"},
                                                        {"fundus.M1", "1x4x4x512"},
                                                        {"fundus.M2", "1x4x4x512"}}));
  EXPECT_EQ(maps.size(), 6u);
}

TEST(HmVgg, ComposedHeadIsTheFusedHead) {
  Model& model = shared_model("fundus");
  ModelInput input = random_input(model.config(), 3);
  const Tensor fused = model.forward(input, {});
  input.present = {{1, 0, 1}};
  const Tensor composed = model.forward(input, {});
  expect_near(row(composed, 0), row(fused, 0), 1e-4);
  expect_near(row(composed, 2), row(fused, 2), 1e-4);
}

TEST(HmVgg, PresenceFlagsOfAllAreNoFlags) {
  for (const char* const kind : {"fundus", "late", "early"}) {
    Model& model = shared_model(kind);
    ModelInput input = random_input(model.config(), 2);
    const std::vector<double> without = model.forward(input, {}).to_doubles();
    input.present.assign(input.images.size(), {1, 1});
    EXPECT_EQ(model.forward(input, {}).to_doubles(), without) << kind;
  }
}

TEST(HmVgg, WhatFillsAMissingModalityIsNeverSeen) {
  for (const char* const kind : {"late", "early"}) {
    SCOPED_TRACE(kind);
    Model& model = shared_model(kind);
    const NoGrad no_grad;
    ModelInput input = random_input(model.config(), 3);
    input.present = {{}, {1, 0, 1}};
    const std::vector<double> before = model.forward(input, {}).to_doubles();
    float* vf = input.images[1].data<float>();
    std::fill_n(vf + 32 * 32, 32 * 32, std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(model.forward(input, {}).to_doubles(), before);
  }
}

TEST(HmVgg, EarlyFusionTakesAMissingModalityForZeros) {
  Model& model = shared_model("early");
  ModelInput input = random_input(model.config(), 2), zeroed = input;
  zeroed.images[1] = Tensor::zeros(input.images[1].shape(), Dtype::f32);
  input.present = {{}, {0, 0}};
  EXPECT_EQ(model.forward(input, {}).to_doubles(), model.forward(zeroed, {}).to_doubles());
}

TEST(HmVgg, LateFusionPutsRowsWhereTheyBelong) {
  Model& model = shared_model("late");
  ModelInput input = random_input(model.config(), 3);
  input.present = {{0, 1, 1}, {1, 1, 0}};
  const Tensor together = model.forward(input, {});
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::int64_t index[] = {i};
    const Tensor at = Tensor::from<std::int64_t>(std::span<const std::int64_t>(index), {1}, Dtype::i64);
    ModelInput alone;
    for (std::size_t m = 0; m < 2; ++m) {
      alone.images.push_back(gather_rows(input.images[m], at));
      alone.present.push_back({input.present[m][static_cast<std::size_t>(i)]});
    }
    expect_near(row(together, i), row(model.forward(alone, {}), 0), 1e-4);
  }
}

TEST(HmVgg, AStreamThatNobodyHasDoesNotRun) {
  const auto model = make_model(config_of({{"modalities", "fundus,vf"}}));
  ModelInput input = random_input(model->config(), 2);
  input.present = {{1, 1}, {0, 0}};
  for (Tensor& image : input.images) image.set_requires_grad(true);
  const Tensor logits = model->forward(input, {});
  cross_entropy(logits, labels(2)).backward();
  for (const NamedTensor& t : model->parameters()) {
    EXPECT_EQ(bool(t.tensor.grad()), !t.name.starts_with("vf.")) << t.name;
  }
  for (const NamedTensor& t : model->buffers()) {
    const bool ran = !t.name.starts_with("vf.");
    if (t.name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(t.tensor.item(), ran ? 1 : 0) << t.name;
    } else if (t.name.ends_with("running_mean")) {
      EXPECT_EQ(t.tensor.to_doubles() != std::vector<double>(512, 0.0), ran) << t.name;
    }
  }
  EXPECT_TRUE(input.images[0].grad());
  EXPECT_FALSE(input.images[1].grad());
}

TEST(HmVgg, MissingRowsGetNoGradient) {
  for (const char* const kind : {"late", "early"}) {
    SCOPED_TRACE(kind);
    Model& model = shared_model(kind);
    ModelInput input = random_input(model.config(), 3);
    input.present = {{}, {0, 1, 1}};
    input.images[1].set_requires_grad(true);
    cross_entropy(model.forward(input, {}), labels(3)).backward();
    const std::vector<double> g = input.images[1].grad().to_doubles();
    const auto zero = [](double v) { return v == 0; };
    EXPECT_TRUE(std::all_of(g.begin(), g.begin() + 1024, zero));
    EXPECT_FALSE(std::all_of(g.begin() + 1024, g.begin() + 2048, zero));
  }
}

TEST(HmVgg, RefusesInputsThatDoNotFit) {
  Model& late = shared_model("late");
  Model& early = shared_model("early");
  const ModelConfig& config = late.config();
  const auto refused = [](Model& model, ModelInput input, const char* part) {
    const std::string message = message_of([&] { model.forward(input, {}); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  const Tensor fundus = random_image(config, "fundus", 2, 32, 32), vf = random_image(config, "vf", 2, 32, 32);
  refused(late, {{fundus}, {}}, "1 images");
  refused(late, {{fundus, fundus}, {}}, "'vf' of 2x32x32x3; it needs N,H,W,1");
  refused(late, {{fundus, random_image(config, "vf", 1, 32, 32)}, {}}, "same samples");
  refused(late, {{fundus, vf.to(Dtype::f64)}, {}}, "'vf' of f64");
  refused(late, {{fundus, vf}, {{}, {1}}}, "1 presence flags of 'vf' for 2 samples");
  refused(late, {{fundus, random_image(config, "vf", 2, 32, 40)}, {}}, "nearest size that works is 32 x 35");
  refused(early, {{fundus, random_image(config, "vf", 2, 32, 48)}, {}}, "the same size");
  refused(late, {{fundus, Tensor{}}, {}}, "no image of modality 'vf'");
  EXPECT_NO_THROW(late.forward({{fundus, random_image(config, "vf", 2, 32, 48)}, {}}, {}));
}

TEST(HmVgg, SingleStartsAsTheDoubleRounded) {
  const auto twice = make_model(config_of({}, Dtype::f64, 1));
  const std::vector<NamedTensor> a = shared_model("fundus").parameters(), b = twice->parameters();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].tensor.numel() > 100000) continue;
    EXPECT_EQ(a[i].tensor.to_doubles(), b[i].tensor.to(Dtype::f32).to_doubles()) << a[i].name;
  }
}

// ---- checkpoints

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea-models-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

TEST(HmVgg, CheckpointRoundTrip) {
  const TempDir dir;
  const auto saved = make_model(config_of({{"taps", "1,2,3"}})),
             loaded = make_model(config_of({{"taps", "1,2,3"}}, Dtype::f32, 2));
  const ModelInput input = random_input(saved->config(), 2);
  saved->forward(input, {});  // in training: moves the running statistics
  save_weights(dir.file("w.safetensors"), *saved);
  EXPECT_TRUE(load_weights(dir.file("w.safetensors"), *loaded, true).exact());
  saved->set_training(false);
  loaded->set_training(false);
  EXPECT_EQ(saved->forward(input, {}).to_doubles(), loaded->forward(input, {}).to_doubles());

  Model& other = shared_model("fundus");
  const std::string message = message_of([&] { load_weights(dir.file("w.safetensors"), other, true); });
  for (const char* const part :
       {"fundus.ham4.fc1.weight", "fundus.down1.0.conv.weight", "and 19 more",
        "fundus.mlrm1.branches.0.conv.weight: file 256x256x3x3, model 512x512x3x3"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
  }
}

// ---- the derivative of everything

double dot(const Tensor& a, const Tensor& b) {
  const double *x = a.data<double>(), *y = b.data<double>();
  double sum = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += x[i] * y[i];
  return sum;
}

void shift(Tensor& value, const Tensor& direction, double by) {
  double* v = value.data<double>();
  const double* d = direction.data<double>();
  for (std::int64_t i = 0; i < value.numel(); ++i) v[i] += by * d[i];
}

/// Every parameter and the images move along one random direction; the slope of the loss against the
/// gradients. The statistics of batch norm are those of the batch, so that the running ones, which each
/// forward moves, do not enter.
void check_slope(const Keys& keys, std::vector<std::vector<std::uint8_t>> present) {
  const ModelConfig config = config_of(keys, Dtype::f64);
  const auto model = make_model(config);
  ModelInput input = random_input(config, 2);
  input.present = std::move(present);
  std::vector<Tensor> leaves = input.images, directions;
  for (Tensor& image : leaves) image.set_requires_grad(true);
  for (const NamedTensor& t : model->parameters()) leaves.push_back(t.tensor);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    Tensor d = Tensor::zeros(leaves[i].shape(), Dtype::f64);
    normal_(d, 1 / std::sqrt(static_cast<double>(d.numel() / d.shape()[0])),
            {.seed = 11, .name = std::to_string(i)});
    directions.push_back(d);
  }
  const auto loss = [&] { return cross_entropy(model->forward(input, {}), labels(2)); };
  loss().backward();
  double expected = 0;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].grad()) expected += dot(leaves[i].grad(), directions[i]);
  }
  const NoGrad no_grad;
  const double h = 1e-7;  // small: a ReLU or a max-pool that flips within it bends the line
  const auto loss_at = [&](double by) {
    for (std::size_t i = 0; i < leaves.size(); ++i) shift(leaves[i], directions[i], by);
    return loss().item();
  };
  const double up = loss_at(h), down = loss_at(-2 * h);
  EXPECT_GT(std::abs(expected), 1e-3);
  EXPECT_NEAR((up - down) / (2 * h) / expected, 1, 1e-6);
}

TEST(HmVgg, SlopeIsTheGradient) { check_slope({}, {}); }

TEST(HmVgg, SlopeIsTheGradientLateWithAMissingModality) {
  check_slope({{"modalities", "fundus,vf"}, {"mlrm.rates", "1"}, {"ham.variant", "scse"}}, {{}, {0, 1}});
}

TEST(HmVgg, SlopeIsTheGradientEarlyConcatBatchNorm) {
  check_slope({{"modalities", "fundus,vf"},
               {"fusion", "early"},
               {"mlrm.fuse", "concat"},
               {"mlrm.rates", "1,3"},
               {"bn", "true"}},
              {{}, {1, 0}});
}

}  // namespace
}  // namespace fovea
