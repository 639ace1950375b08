// See vgg.hpp.
#include "models/vgg.hpp"

#include <fmt/format.h>

#include "models/image_model.hpp"
#include "models/vgg_features.hpp"

namespace fovea {
namespace {

constexpr std::int64_t smallest_side = 32, pooled_side = 7, hidden = 4096;
constexpr Init start = Init::normal(0.01);

class Vgg : public ImageModel {
 public:
  explicit Vgg(const ModelConfig& config)
      : ImageModel(config, smallest_side),
        features_(config.name.substr(0, config.name.find('_')), config.name.ends_with("_bn"), 3,
                  config.dtype),
        fc0_(pooled_side, pooled_side, VggFeatures::widths.back(), hidden, start, config.dtype),
        fc3_({.in = hidden, .out = hidden, .init = start}, config.dtype),
        fc6_({.in = hidden, .out = config.classes, .init = start}, config.dtype),
        drop2_(0.5),
        drop5_(0.5) {
    add_module("features", features_);
    add_module("classifier.0", fc0_);
    add_module("classifier.2", drop2_);
    add_module("classifier.3", fc3_);
    add_module("classifier.5", drop5_);
    add_module("classifier.6", fc6_);
  }

  std::vector<CamLayer> cam_layers() const override {
    constexpr int last = VggFeatures::blocks;
    std::vector<CamLayer> layers{
        {"features", {"features[-1]", "features." + features_.index_of_pool(last), "pool5"}}};
    for (int block = last; block >= 1; --block)
      layers.push_back({fmt::format("R{}", block), {"features." + features_.index_of(block)}});
    return layers;
  }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    Tensor x = image_of(input);
    for (int block = 1; block <= VggFeatures::blocks; ++block) {
      if (context.capture == nullptr) {
        x = features_.pooled_block(block, x);
        continue;
      }
      const Tensor r = features_.block(block, x);
      context.capture->emplace_back(fmt::format("R{}", block), r);
      x = VggFeatures::pool(r);
    }
    if (context.capture) context.capture->emplace_back("features", x);
    x = fc0_.forward(adaptive_avg_pool(x, pooled_side, pooled_side), Activation::relu);
    x = fc3_.forward(dropped(x, drop2_, context, 0), Activation::relu);
    return fc6_.forward(dropped(x, drop5_, context, 1));
  }

 private:
  static Tensor dropped(const Tensor& x, const Dropout& dropout, const ForwardContext& context,
                        std::uint64_t which) {
    return context.stochastic ? dropout.forward(x, context.seed, 2 * context.step + which) : x;
  }

  VggFeatures features_;
  ImageLinear fc0_;
  Linear fc3_, fc6_;
  Dropout drop2_, drop5_;
};

}  // namespace

std::unique_ptr<Model> make_vgg(const ModelConfig& config) { return std::make_unique<Vgg>(config); }

}  // namespace fovea
