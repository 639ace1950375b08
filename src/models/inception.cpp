// See inception.hpp.
#include "models/inception.hpp"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/image_model.hpp"
#include "nn/layers.hpp"

namespace fovea {
namespace {

constexpr double eps = 1e-3, auxiliary_weight = 0.4;
// torchvision cuts both at +-2, which no value reaches, and leaves biases as its layers draw them.
constexpr Init start = Init::normal(0.1).with_bias(true),
               auxiliary_start = Init::normal(0.001).with_bias(true);
constexpr std::int64_t auxiliary_side = 17;  // of the least image from which its head has a pixel left
constexpr PoolOptions max_pool_2{.kernel_h = 3, .kernel_w = 3};
constexpr PoolOptions same_average{
    .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1};

struct Window {
  std::int64_t h, w, stride = 1, pad_h = 0, pad_w = 0;
};
constexpr Window k1x1{1, 1}, k3x3{3, 3, 1, 1, 1}, k3x3_valid{3, 3}, k3x3_half{3, 3, 2}, k5x5{5, 5, 1, 2, 2};
constexpr Window k1x7{1, 7, 1, 0, 3}, k7x1{7, 1, 1, 3, 0}, k1x3{1, 3, 1, 0, 1}, k3x1{3, 1, 1, 1, 0};

class BasicConv2d : public Module {
 public:
  BasicConv2d(std::int64_t in, std::int64_t out, const Window& k, Dtype dtype)
      : out_(out),
        conv_({.in = in,
               .out = out,
               .kernel_h = k.h,
               .kernel_w = k.w,
               .options = {.stride_h = k.stride, .stride_w = k.stride, .pad_h = k.pad_h, .pad_w = k.pad_w},
               .bias = false,
               .init = start},
              dtype),
        bn_(out, dtype, eps) {
    add_module("conv", conv_);
    add_module("bn", bn_);
  }

  Tensor forward(const Tensor& x, const Into& into = {}) {
    return bn_.forward(conv_.forward(x), Activation::relu, into);
  }
  std::int64_t out() const { return out_; }

 private:
  std::int64_t out_;
  Conv2d conv_;
  BatchNorm2d bn_;
};

/// Convolutions one after another, from the same input as its siblings; the last one, or where there is none a max-pool,
/// makes the branch's channels.
struct Branch {
  std::vector<BasicConv2d*> convs;
  std::vector<BasicConv2d*> ends;  // block E: two convolutions side by side at the end
  bool averages = false;           // a 3x3 average-pool comes first
};

/// Branches beside each other in one image. Subclasses add their convolutions in torchvision's order.
class Mixed : public Module {
 public:
  Mixed(std::int64_t in, bool halves, Dtype dtype) : in_(in), halves_(halves), dtype_(dtype) {}

  /// Channels of the result.
  std::int64_t out() const {
    std::int64_t channels = halves_ ? in_ : 0;
    for (const Branch& branch : branches_) {
      for (const BasicConv2d* conv : branch.ends) channels += conv->out();
    }
    return channels;
  }

  /// A branch of convolutions, each of the channels of the one before.
  struct Step {
    const char* name;
    std::int64_t out;
    Window kernel;
  };
  Mixed& add(std::initializer_list<Step> steps, std::initializer_list<Step> ends, bool averages = false) {
    Branch& branch = branches_.emplace_back();
    branch.averages = averages;
    std::int64_t channels = in_;
    for (const Step& step : steps) {
      branch.convs.push_back(&conv(step, channels));
      channels = step.out;
    }
    for (const Step& step : ends) branch.ends.push_back(&conv(step, channels));
    return *this;
  }

  Tensor forward(const Tensor& x) {
    const Shape& s = x.shape();
    const std::int64_t h = halves_ ? (s[1] - 3) / 2 + 1 : s[1], w = halves_ ? (s[2] - 3) / 2 + 1 : s[2];
    Tensor image = Tensor::zeros({s[0], h, w, out()}, x.dtype(), x.device());
    std::int64_t begin = 0;
    for (const Branch& branch : branches_) {
      Tensor y = branch.averages ? avg_pool(x, same_average) : x;
      for (BasicConv2d* conv : branch.convs) y = conv->forward(y);
      for (BasicConv2d* conv : branch.ends) {
        image = conv->forward(y, {image, begin});
        begin += conv->out();
      }
    }
    return halves_ ? max_pool(x, max_pool_2, {image, begin}) : image;
  }

 private:
  BasicConv2d& conv(const Step& step, std::int64_t in) {
    BasicConv2d& made = convs_.emplace_back(in, step.out, step.kernel, dtype_);
    add_module(step.name, made);
    return made;
  }

  std::int64_t in_;
  bool halves_;  // convolutions at the ends and a max-pool, the last branch, have stride 2
  Dtype dtype_;
  std::deque<BasicConv2d> convs_;  // deques: modules do not move
  std::vector<Branch> branches_;
};

void make_a(Mixed& m, std::int64_t pool) {
  m.add({}, {{"branch1x1", 64, k1x1}});
  m.add({{"branch5x5_1", 48, k1x1}}, {{"branch5x5_2", 64, k5x5}});
  m.add({{"branch3x3dbl_1", 64, k1x1}, {"branch3x3dbl_2", 96, k3x3}}, {{"branch3x3dbl_3", 96, k3x3}});
  m.add({}, {{"branch_pool", pool, k1x1}}, true);
}

void make_b(Mixed& m) {
  m.add({}, {{"branch3x3", 384, k3x3_half}});
  m.add({{"branch3x3dbl_1", 64, k1x1}, {"branch3x3dbl_2", 96, k3x3}}, {{"branch3x3dbl_3", 96, k3x3_half}});
}

void make_c(Mixed& m, std::int64_t width) {
  m.add({}, {{"branch1x1", 192, k1x1}});
  m.add({{"branch7x7_1", width, k1x1}, {"branch7x7_2", width, k1x7}}, {{"branch7x7_3", 192, k7x1}});
  m.add({{"branch7x7dbl_1", width, k1x1},
         {"branch7x7dbl_2", width, k7x1},
         {"branch7x7dbl_3", width, k1x7},
         {"branch7x7dbl_4", width, k7x1}},
        {{"branch7x7dbl_5", 192, k1x7}});
  m.add({}, {{"branch_pool", 192, k1x1}}, true);
}

void make_d(Mixed& m) {
  m.add({{"branch3x3_1", 192, k1x1}}, {{"branch3x3_2", 320, k3x3_half}});
  m.add({{"branch7x7x3_1", 192, k1x1}, {"branch7x7x3_2", 192, k1x7}, {"branch7x7x3_3", 192, k7x1}},
        {{"branch7x7x3_4", 192, k3x3_half}});
}

void make_e(Mixed& m) {
  m.add({}, {{"branch1x1", 320, k1x1}});
  m.add({{"branch3x3_1", 384, k1x1}}, {{"branch3x3_2a", 384, k1x3}, {"branch3x3_2b", 384, k3x1}});
  m.add({{"branch3x3dbl_1", 448, k1x1}, {"branch3x3dbl_2", 384, k3x3}},
        {{"branch3x3dbl_3a", 384, k1x3}, {"branch3x3dbl_3b", 384, k3x1}});
  m.add({}, {{"branch_pool", 192, k1x1}}, true);
}

class AuxiliaryHead : public Module {
 public:
  AuxiliaryHead(std::int64_t in, std::int64_t classes, Dtype dtype)
      : conv0_(in, 128, k1x1, dtype),
        conv1_(128, 768, {5, 5}, dtype),
        fc_({.in = 768, .out = classes, .init = auxiliary_start}, dtype) {
    add_module("conv0", conv0_);
    add_module("conv1", conv1_);
    add_module("fc", fc_);
  }

  Tensor forward(const Tensor& x) {
    const Tensor small = avg_pool(x, {.kernel_h = 5, .kernel_w = 5, .stride_h = 3, .stride_w = 3});
    return fc_.forward(global_avg_pool(conv1_.forward(conv0_.forward(small))));
  }

 private:
  BasicConv2d conv0_, conv1_;
  Linear fc_;
};

// From torchvision's normalisation, by which images come, to that of the weights it gives: (x s + m - 0.5) / 0.5.
Tensor transformed(const Tensor& x) {
  constexpr std::array<double, 3> mean{0.485, 0.456, 0.406}, deviation{0.229, 0.224, 0.225};
  std::array<double, 3> scale{}, shift{};
  for (std::size_t c = 0; c < 3; ++c) {
    scale[c] = deviation[c] / 0.5;
    shift[c] = (mean[c] - 0.5) / 0.5;
  }
  const auto constant = [&](const std::array<double, 3>& values) {
    return Tensor::from<double>(values, {3}, x.dtype(), x.device());
  };
  return add(multiply(x, constant(scale)), constant(shift));
}

class Inception : public ImageModel {
 public:
  explicit Inception(const ModelConfig& config)
      : ImageModel(config, 75),
        drop_(0.5),
        fc_({.in = 2048, .out = config.classes, .init = start}, config.dtype) {
    add_conv("Conv2d_1a_3x3", 3, 32, k3x3_half);
    add_conv("Conv2d_2a_3x3", 32, 32, k3x3_valid);
    add_conv("Conv2d_2b_3x3", 32, 64, k3x3);
    add_conv("Conv2d_3b_1x1", 64, 80, k1x1);
    add_conv("Conv2d_4a_3x3", 80, 192, k3x3_valid);
    channels_ = 192;
    for (const auto& [name, pool] : {std::pair{"Mixed_5b", 32}, {"Mixed_5c", 64}, {"Mixed_5d", 64}})
      add_block(name, false, [pool = pool](Mixed& m) { make_a(m, pool); });
    add_block("Mixed_6a", true, &make_b);
    for (const auto& [name, width] :
         {std::pair{"Mixed_6b", 128}, {"Mixed_6c", 160}, {"Mixed_6d", 160}, {"Mixed_6e", 192}})
      add_block(name, false, [width = width](Mixed& m) { make_c(m, width); });
    auxiliary_.emplace(channels_, config.classes, config.dtype);
    add_module("AuxLogits", *auxiliary_);
    add_block("Mixed_7a", true, &make_d);
    add_block("Mixed_7b", false, &make_e);
    add_block("Mixed_7c", false, &make_e);
    add_module("fc", fc_);
  }

  std::vector<CamLayer> cam_layers() const override { return {{"Mixed_7c"}, {"Mixed_6e"}, {"Mixed_5d"}}; }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    Tensor x = stem(image_of(input));
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      x = blocks_[i].forward(x);
      const std::string& name = names_[i];
      if (context.capture && (name == "Mixed_5d" || name == "Mixed_6e" || name == "Mixed_7c"))
        context.capture->emplace_back(name, x);
      if (name == "Mixed_6e" && training() && context.auxiliary && takes(x))
        context.auxiliary->push_back({auxiliary_->forward(x), auxiliary_weight});
    }
    x = global_avg_pool(x);
    return fc_.forward(context.stochastic ? drop_.forward(x, context.seed, context.step) : x);
  }

 private:
  void add_conv(const char* name, std::int64_t in, std::int64_t out, const Window& kernel) {
    add_module(name, stem_.emplace_back(in, out, kernel, config_.dtype));
  }
  template <class Make>
  void add_block(const char* name, bool halves, Make&& make) {
    Mixed& block = blocks_.emplace_back(channels_, halves, config_.dtype);
    make(block);
    channels_ = block.out();
    names_.emplace_back(name);
    add_module(name, block);
  }

  static bool takes(const Tensor& x) {
    return x.shape()[1] >= auxiliary_side && x.shape()[2] >= auxiliary_side;
  }

  Tensor stem(const Tensor& image) {
    Tensor x = config_.transform_input ? transformed(image) : image;
    for (std::size_t i = 0; i < 3; ++i) x = stem_[i].forward(x);
    x = stem_[4].forward(stem_[3].forward(max_pool(x, max_pool_2)));
    return max_pool(x, max_pool_2);
  }

  std::deque<BasicConv2d> stem_;  // deques: modules do not move
  std::deque<Mixed> blocks_;
  std::vector<std::string> names_;  // of the blocks
  std::int64_t channels_ = 0;       // of the last block added
  std::optional<AuxiliaryHead> auxiliary_;
  Dropout drop_;
  Linear fc_;
};

}  // namespace

std::unique_ptr<Model> make_inception(const ModelConfig& config) {
  return std::make_unique<Inception>(config);
}

}  // namespace fovea
