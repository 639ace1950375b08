// See densenet.hpp.
#include "models/densenet.hpp"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <optional>

#include "models/image_model.hpp"
#include "nn/layers.hpp"

namespace fovea {
namespace {

constexpr std::array<int, 4> depths{6, 12, 36, 24};
constexpr std::int64_t first_channels = 96, growth = 48, bottleneck = 4 * growth;

Conv2dSpec conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  return same_conv(in, out, kernel, stride, Init::kaiming_fan_in);
}

/// Zeros, to write into: an image of `channels` for each of x's.
Tensor image_for(const Tensor& x, std::int64_t height, std::int64_t width, std::int64_t channels) {
  return Tensor::zeros({x.shape()[0], height, width, channels}, x.dtype(), x.device());
}

class DenseLayer : public Module {
 public:
  DenseLayer(std::int64_t in, Dtype dtype)
      : in_(in),
        norm1_(in, dtype),
        conv1_(conv(in, bottleneck, 1, 1), dtype),
        norm2_(bottleneck, dtype),
        conv2_(conv(bottleneck, growth, 3, 1), dtype) {
    add_module("norm1", norm1_);
    add_module("conv1", conv1_);
    add_module("norm2", norm2_);
    add_module("conv2", conv2_);
  }

  /// The image with the layer's channels behind those that it reads.
  Tensor forward(const Tensor& image) {
    const Tensor narrow = conv1_.forward(norm1_.forward_first(image, Activation::relu));
    return conv2_.forward(norm2_.forward(narrow, Activation::relu), Activation::none, {image, in_});
  }

 private:
  std::int64_t in_;
  BatchNorm2d norm1_;
  Conv2d conv1_;
  BatchNorm2d norm2_;
  Conv2d conv2_;
};

class Transition : public Module {
 public:
  Transition(std::int64_t in, Dtype dtype) : norm_(in, dtype), conv_(conv(in, in / 2, 1, 1), dtype) {
    add_module("norm", norm_);
    add_module("conv", conv_);
  }

  /// Into the first of the next block's `channels`. The average comes before the 1x1 convolution, with which it commutes:
  /// a quarter of the pixels.
  Tensor forward(const Tensor& x, std::int64_t channels) {
    const Tensor small = avg_pool(norm_.forward(x, Activation::relu), {});
    const Tensor image = image_for(x, small.shape()[1], small.shape()[2], channels);
    return conv_.forward(small, Activation::none, {image, 0});
  }

 private:
  BatchNorm2d norm_;
  Conv2d conv_;
};

class DenseNet : public ImageModel {
 public:
  explicit DenseNet(const ModelConfig& config)
      : ImageModel(config, 32),
        conv0_(conv(3, first_channels, 7, 2), config.dtype),
        norm0_(first_channels, config.dtype) {
    add_module("features.conv0", conv0_);
    add_module("features.norm0", norm0_);
    std::int64_t channels = first_channels;
    for (std::size_t block = 0; block < depths.size(); ++block) {
      for (int i = 0; i < depths[block]; ++i, channels += growth) {
        DenseLayer& layer = layers_[block].emplace_back(channels, config.dtype);
        add_module(fmt::format("features.denseblock{}.denselayer{}", block + 1, i + 1), layer);
      }
      widths_[block] = channels;
      if (block + 1 == depths.size()) break;
      add_module(fmt::format("features.transition{}", block + 1),
                 transitions_.emplace_back(channels, config.dtype));
      channels /= 2;
    }
    norm5_.emplace(channels, config.dtype);
    add_module("features.norm5", *norm5_);
    classifier_.emplace(
        LinearSpec{.in = channels, .out = config.classes, .init = Init::pytorch.with_bias(false)},
        config.dtype);
    add_module("classifier", *classifier_);
  }

  std::vector<CamLayer> cam_layers() const override {
    std::vector<CamLayer> layers{{"features", {"features[-1]", "features.norm5", "norm5"}}};
    for (std::size_t block = depths.size(); block >= 1; --block)
      layers.push_back({fmt::format("denseblock{}", block), {fmt::format("features.denseblock{}", block)}});
    return layers;
  }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    Tensor image = start(image_of(input));
    for (std::size_t block = 0; block < depths.size(); ++block) {
      if (block > 0) image = transitions_[block - 1].forward(image, widths_[block]);
      for (DenseLayer& layer : layers_[block]) image = layer.forward(image);
      if (context.capture) context.capture->emplace_back(fmt::format("denseblock{}", block + 1), image);
    }
    return classifier_->forward(global_avg_pool(normalised(image, context)));
  }

 private:
  // What is captured is torchvision's `features`: the norm before its ReLU.
  Tensor normalised(const Tensor& image, const ForwardContext& context) {
    if (!context.capture) return norm5_->forward(image, Activation::relu);
    const Tensor features = norm5_->forward(image);
    context.capture->emplace_back("features", features);
    return relu(features);
  }

  Tensor start(const Tensor& x) {
    const Tensor y = norm0_.forward(conv0_.forward(x), Activation::relu);
    const Tensor image = image_for(y, (y.shape()[1] + 1) / 2, (y.shape()[2] + 1) / 2, widths_[0]);
    return max_pool(y, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}, {image, 0});
  }

  Conv2d conv0_;
  BatchNorm2d norm0_;
  std::array<std::deque<DenseLayer>, depths.size()> layers_;  // deques: modules do not move
  std::deque<Transition> transitions_;
  std::array<std::int64_t, depths.size()> widths_{};  // channels of a block's image
  std::optional<BatchNorm2d> norm5_;
  std::optional<Linear> classifier_;
};

}  // namespace

std::unique_ptr<Model> make_densenet(const ModelConfig& config) { return std::make_unique<DenseNet>(config); }

}  // namespace fovea
