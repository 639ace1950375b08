// See resnet.hpp.
#include "models/resnet.hpp"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <optional>

#include "models/image_model.hpp"
#include "nn/layers.hpp"

namespace fovea {
namespace {

struct Depth {
  bool bottleneck;
  std::array<int, 4> blocks;
};
Depth depth_of(const std::string& name) {
  return name == "resnet50" ? Depth{true, {3, 4, 6, 3}} : Depth{false, {2, 2, 2, 2}};
}

Conv2dSpec conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  return same_conv(in, out, kernel, stride, Init::kaiming_fan_out);
}

/// A basic block (3x3, 3x3) or a bottleneck (1x1, 3x3, 1x1 to four times the width).
class Residual : public Module {
 public:
  Residual(std::int64_t in, std::int64_t width, std::int64_t stride, bool bottleneck, Dtype dtype) {
    const std::int64_t out = bottleneck ? 4 * width : width;
    if (bottleneck) {
      add(conv(in, width, 1, 1), dtype);
      add(conv(width, width, 3, stride), dtype);
      add(conv(width, out, 1, 1), dtype);
    } else {
      add(conv(in, width, 3, stride), dtype);
      add(conv(width, out, 3, 1), dtype);
    }
    if (stride == 1 && in == out) return;
    shortcut_ = &convs_.emplace_back(conv(in, out, 1, stride), dtype);
    shortcut_bn_ = &bns_.emplace_back(out, dtype);
    add_module("downsample.0", *shortcut_);
    add_module("downsample.1", *shortcut_bn_);
  }

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    for (std::size_t i = 0; i < depth_; ++i) {
      const bool last = i + 1 == depth_;
      y = bns_[i].forward(convs_[i].forward(y), last ? Activation::none : Activation::relu);
    }
    return relu(fovea::add(y, shortcut_ != nullptr ? shortcut_bn_->forward(shortcut_->forward(x)) : x));
  }

 private:
  void add(const Conv2dSpec& spec, Dtype dtype) {
    ++depth_;
    add_module(fmt::format("conv{}", depth_), convs_.emplace_back(spec, dtype));
    add_module(fmt::format("bn{}", depth_), bns_.emplace_back(spec.out, dtype));
  }

  std::deque<Conv2d> convs_;  // deques: modules do not move
  std::deque<BatchNorm2d> bns_;
  std::size_t depth_ = 0;
  Conv2d* shortcut_ = nullptr;
  BatchNorm2d* shortcut_bn_ = nullptr;
};

class ResNet : public ImageModel {
 public:
  explicit ResNet(const ModelConfig& config)
      : ImageModel(config, 32), conv1_(conv(3, 64, 7, 2), config.dtype), bn1_(64, config.dtype) {
    add_module("conv1", conv1_);
    add_module("bn1", bn1_);
    const Depth depth = depth_of(config.name);
    std::int64_t in = 64;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      const std::int64_t width = std::int64_t{64} << stage;
      for (int i = 0; i < depth.blocks[stage]; ++i) {
        const std::int64_t stride = stage > 0 && i == 0 ? 2 : 1;
        Residual& block = stages_[stage].emplace_back(in, width, stride, depth.bottleneck, config.dtype);
        add_module(fmt::format("layer{}.{}", stage + 1, i), block);
        in = depth.bottleneck ? 4 * width : width;
      }
    }
    fc_.emplace(LinearSpec{.in = in, .out = config.classes, .init = Init::pytorch}, config.dtype);
    add_module("fc", *fc_);
  }

  std::vector<CamLayer> cam_layers() const override {
    const Depth depth = depth_of(config_.name);
    std::vector<CamLayer> layers;
    for (std::size_t stage = stages_.size(); stage-- > 0;) {
      const std::string name = fmt::format("layer{}", stage + 1);
      layers.push_back({name, {name + "[-1]", fmt::format("{}.{}", name, depth.blocks[stage] - 1)}});
    }
    return layers;
  }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    // The ReLU comes after the pool, whose maximum it does not change: a quarter of the pixels.
    Tensor x = bn1_.forward(conv1_.forward(image_of(input)));
    x = relu(max_pool(x, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}));
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      for (Residual& block : stages_[stage]) x = block.forward(x);
      if (context.capture) context.capture->emplace_back(fmt::format("layer{}", stage + 1), x);
    }
    return fc_->forward(global_avg_pool(x));
  }

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  std::array<std::deque<Residual>, 4> stages_;
  std::optional<Linear> fc_;
};

}  // namespace

std::unique_ptr<Model> make_resnet(const ModelConfig& config) { return std::make_unique<ResNet>(config); }

}  // namespace fovea
