// See convnext.hpp.
#include "models/convnext.hpp"

#include <fmt/format.h>

#include <array>
#include <deque>
#include <numeric>

#include "models/image_model.hpp"
#include "nn/layers.hpp"

namespace fovea {
namespace {

constexpr std::array<int, 4> depths{3, 3, 9, 3};
constexpr std::array<std::int64_t, 4> widths{96, 192, 384, 768};
constexpr double eps = 1e-6, largest_drop = 0.1, first_layer_scale = 1e-6;
// Of everything. torchvision cuts it at +-2, a hundred deviations out, which no value reaches.
constexpr Init start = Init::normal(0.02);

/// A convolution whose filters tile the image.
Conv2dSpec patches(std::int64_t in, std::int64_t out, std::int64_t side) {
  return {.in = in,
          .out = out,
          .kernel_h = side,
          .kernel_w = side,
          .options = {.stride_h = side, .stride_w = side},
          .init = start};
}

Conv2dSpec depthwise(std::int64_t channels) {
  return {.in = channels,
          .out = channels,
          .kernel_h = 7,
          .kernel_w = 7,
          .options = {.pad_h = 3, .pad_w = 3, .groups = channels},
          .init = start};
}

class Block : public Module {
 public:
  Block(std::int64_t width, Dtype dtype)
      : conv_(depthwise(width), dtype),
        norm_(width, dtype, eps),
        widen_({.in = width, .out = 4 * width, .init = start}, dtype),
        narrow_({.in = 4 * width, .out = width, .init = start}, dtype) {
    layer_scale_ = add_parameter("layer_scale", {width, 1, 1}, dtype);
    add_module("block.0", conv_);
    add_module("block.2", norm_);
    add_module("block.3", widen_);
    add_module("block.5", narrow_);
  }

  /// `p`, `seed` and `offset` are scale_residual's.
  Tensor forward(const Tensor& x, double p, std::uint64_t seed, std::uint64_t offset) const {
    const Tensor image = norm_.forward(conv_.forward(x));
    const std::int64_t width = x.shape()[3];
    const Tensor pixels = reshape(image, {image.numel() / width, width});
    const Tensor branch = narrow_.forward(gelu(widen_.forward(pixels)));
    return scale_residual(x, reshape(branch, x.shape()), layer_scale_, p, seed, offset);
  }

 protected:
  void initialise_own(std::uint64_t, const std::string&) override { layer_scale_.fill(first_layer_scale); }

 private:
  Conv2d conv_;
  LayerNorm norm_;
  Linear widen_, narrow_;
  Tensor layer_scale_;
};

class ConvNeXt : public ImageModel {
 public:
  explicit ConvNeXt(const ModelConfig& config)
      : ImageModel(config, 32),
        norm_(widths.back(), config.dtype, eps),
        fc_({.in = widths.back(), .out = config.classes, .init = start}, config.dtype) {
    const Dtype dtype = config.dtype;
    for (std::size_t stage = 0; stage < depths.size(); ++stage) {
      const std::int64_t width = widths[stage];
      const bool first = stage == 0;  // convolution, then norm; further on the norm comes first
      Conv2d& conv = convs_.emplace_back(patches(first ? 3 : widths[stage - 1], width, first ? 4 : 2), dtype);
      LayerNorm& norm = norms_.emplace_back(first ? width : widths[stage - 1], dtype, eps);
      add_module(fmt::format("features.{}.{}", 2 * stage, first ? 0 : 1), conv);
      add_module(fmt::format("features.{}.{}", 2 * stage, first ? 1 : 0), norm);
      for (int i = 0; i < depths[stage]; ++i)
        add_module(fmt::format("features.{}.{}", 2 * stage + 1, i),
                   stages_[stage].emplace_back(width, dtype));
    }
    add_module("classifier.0", norm_);
    add_module("classifier.2", fc_);
  }

  std::vector<CamLayer> cam_layers() const override {
    std::vector<CamLayer> layers;
    for (std::size_t stage = depths.size(); stage >= 1; --stage) {
      const std::string module = fmt::format("features.{}", 2 * stage - 1);
      layers.push_back(
          {fmt::format("stage{}", stage), {module, fmt::format("{}.{}", module, depths[stage - 1] - 1)}});
    }
    layers[0].aliases.insert(layers[0].aliases.end(), {"features", "features[-1]", "features[-1][-1]"});
    return layers;
  }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    Tensor x = image_of(input);
    std::uint64_t index = 0;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      x = stage == 0 ? norms_[0].forward(convs_[0].forward(x))
                     : convs_[stage].forward(norms_[stage].forward(x));
      for (const Block& block : stages_[stage]) {
        x = block.forward(x, drop_of(index, context), context.seed, blocks * context.step + index);
        ++index;
      }
      if (context.capture) context.capture->emplace_back(fmt::format("stage{}", stage + 1), x);
    }
    return fc_.forward(norm_.forward(global_avg_pool(x)));
  }

 private:
  static constexpr std::uint64_t blocks = std::accumulate(depths.begin(), depths.end(), 0);

  double drop_of(std::uint64_t index, const ForwardContext& context) const {
    if (!training() || !context.stochastic) return 0;
    return largest_drop * static_cast<double>(index) / static_cast<double>(blocks - 1);
  }

  std::deque<Conv2d> convs_;  // deques: modules do not move
  std::deque<LayerNorm> norms_;
  std::array<std::deque<Block>, depths.size()> stages_;
  LayerNorm norm_;
  Linear fc_;
};

}  // namespace

std::unique_ptr<Model> make_convnext(const ModelConfig& config) { return std::make_unique<ConvNeXt>(config); }

}  // namespace fovea
