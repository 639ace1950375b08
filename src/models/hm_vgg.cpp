// HM-VGG: its modules under the names of the twin, one stream per modality, and the fusion. See hm_vgg.hpp.
#include "models/hm_vgg.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "kernels/runtime/error.hpp"
#include "models/vgg_features.hpp"

namespace fovea {
namespace {

constexpr std::int64_t smallest_size = 32;
constexpr std::int64_t reduction = 16;  // of HAM's channel branch
constexpr std::int64_t hidden = 64;     // of the classifier

std::int64_t width_of_block(std::int64_t block) {
  return VggFeatures::widths[static_cast<std::size_t>(block - 1)];
}

/// HAM's parameters (Eqs. 5-10): spatial (a 1x1 convolution to one channel), fc1, fc2.
class Ham : public Module {
 public:
  Ham(std::int64_t channels, HamVariant variant, Dtype dtype)
      : variant_(variant),
        spatial_({.in = channels, .out = 1, .as_1x1 = true}, dtype),
        fc1_({.in = channels, .out = channels / reduction, .init = Init::kaiming_fan_in}, dtype),
        fc2_({.in = channels / reduction, .out = channels}, dtype) {
    add_module("spatial", spatial_);
    add_module("fc1", fc1_);
    add_module("fc2", fc2_);
  }

  Tensor forward(const Tensor& x) const {
    const Tensor& w = spatial_.weight();
    return ham(x,
               {.spatial_weight = reshape(w, {w.shape()[1]}),
                .spatial_bias = spatial_.bias(),
                .fc1_weight = fc1_.weight(),
                .fc1_bias = fc1_.bias(),
                .fc2_weight = fc2_.weight(),
                .fc2_bias = fc2_.bias()},
               variant_);
  }

 private:
  HamVariant variant_;
  Linear spatial_, fc1_, fc2_;
};

/// 3x3 convolution without bias, batch norm, ReLU: Conv3 (stride 2), and a branch of MLRM (dilated).
class ConvBn : public Module {
 public:
  ConvBn(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t dilation, Dtype dtype)
      : dilation_(dilation),
        conv_({.in = in,
               .out = out,
               .options = {.stride_h = stride,
                           .stride_w = stride,
                           .pad_h = dilation,
                           .pad_w = dilation,
                           .dilation_h = dilation,
                           .dilation_w = dilation},
               .bias = false},
              dtype),
        bn_(out, dtype) {
    add_module("conv", conv_);
    add_module("bn", bn_);
  }

  Tensor forward(const Tensor& x) { return bn_.forward(conv_.forward(x), Activation::relu); }

  MlrmBranch branch() const {
    return {.weight = conv_.weight(),
            .gamma = bn_.weight(),
            .beta = bn_.bias(),
            .running_mean = bn_.running_mean(),
            .running_var = bn_.running_var(),
            .dilation = dilation_};
  }
  BatchNorm2d& bn() { return bn_; }

 private:
  std::int64_t dilation_;
  Conv2d conv_;
  BatchNorm2d bn_;
};

/// M = SC + sum_d relu(bn_d(conv_d(SC))), or, fused by concatenation, SC + merge(concat_d(...)).
class Mlrm : public Module {
 public:
  Mlrm(std::int64_t channels, const ModelConfig& config) {
    for (std::size_t j = 0; j < config.mlrm_rates.size(); ++j) {
      ConvBn& branch = branches_.emplace_back(channels, channels, 1, config.mlrm_rates[j], config.dtype);
      add_module(fmt::format("branches.{}", j), branch);
    }
    if (config.mlrm_fuse == "concat" && !branches_.empty()) {
      const auto count = static_cast<std::int64_t>(config.mlrm_rates.size());
      merge_ = std::make_unique<Conv2d>(
          Conv2dSpec{
              .in = count * channels, .out = channels, .kernel_h = 1, .kernel_w = 1, .init = Init::xavier},
          config.dtype);
      add_module("merge", *merge_);
    }
  }

  /// Without branches x itself.
  Tensor forward(const Tensor& x) {
    if (branches_.empty()) return x;
    return merge_ ? forward_concat(x) : forward_sum(x);
  }

 private:
  Tensor forward_sum(const Tensor& x) {
    std::vector<MlrmBranch> branches;
    for (const ConvBn& branch : branches_) branches.push_back(branch.branch());
    BatchNorm2d& first = branches_.front().bn();
    Tensor y = mlrm(x, branches, {.training = training(), .eps = first.eps(), .momentum = first.momentum()});
    for (ConvBn& branch : branches_) branch.bn().count_batch();
    return y;
  }

  Tensor forward_concat(const Tensor& x) {
    std::vector<Tensor> parts;
    for (ConvBn& branch : branches_) parts.push_back(branch.forward(x));
    return add(x, merge_->forward(concat(parts)));
  }

  std::deque<ConvBn> branches_;
  std::unique_ptr<Conv2d> merge_;
};

/// What a stream hands to the classifier.
struct StreamOutput {
  Tensor m2, r5;
};

/// One modality's way from the image to M2 and R5.
class Stream : public Module {
 public:
  Stream(std::string name, std::int64_t in_channels, const ModelConfig& config)
      : name_(std::move(name)),
        taps_(config.taps),
        features_(config.backbone, config.bn, in_channels, config.dtype) {
    const std::int64_t low = width_of_block(taps_[0]), mid = width_of_block(taps_[1]),
                       last = width_of_block(taps_[2]);
    add_module("features", features_);
    for (const std::int64_t tap : taps_) {
      if (config.ham_variant == "none") break;
      const HamVariant variant = config.ham_variant == "scse" ? HamVariant::scse : HamVariant::paper;
      add_module(fmt::format("ham{}", tap), hams_.emplace_back(width_of_block(tap), variant, config.dtype));
    }
    add_module(fmt::format("down{}", taps_[1]), downs_.emplace_back(mid, last, 2, 1, config.dtype));
    add_module(fmt::format("down{}.0", taps_[0]), downs_.emplace_back(low, mid, 2, 1, config.dtype));
    add_module(fmt::format("down{}.1", taps_[0]), downs_.emplace_back(mid, last, 2, 1, config.dtype));
    for (const char* const name : {"mlrm1", "mlrm2"}) add_module(name, mlrms_.emplace_back(last, config));
    if (!config.shortcut) return;
    add_module("shortcut",
               shortcut_.emplace(LinearSpec{.in = VggFeatures::widths.back(), .out = last, .as_1x1 = true},
                                 config.dtype));
  }

  StreamOutput forward(const Tensor& image, const ForwardContext& context) {
    const auto keep = [&](const std::string& what, const Tensor& tensor) {
      if (context.capture) context.capture->emplace_back(name_ + "." + what, tensor);
      return tensor;
    };
    std::vector<Tensor> h;
    Tensor x = image, r;
    for (int block = 1; block <= VggFeatures::blocks; ++block) {
      const bool tapped = std::find(taps_.begin(), taps_.end(), block) != taps_.end();
      const bool last = block == VggFeatures::blocks;
      if (!tapped && !last) {
        x = features_.pooled_block(block, x);
        continue;
      }
      r = features_.block(block, x);
      if (tapped)
        h.push_back(keep(fmt::format("H{}", block), hams_.empty() ? r : hams_[h.size()].forward(r)));
      if (!last) x = VggFeatures::pool(r);
    }
    keep("R5", r);
    const Tensor m1 = keep("M1", mlrms_[0].forward(add(downs_[0].forward(h[1]), h[2])));
    const Tensor low = downs_[2].forward(downs_[1].forward(h[0]));
    return {.m2 = keep("M2", mlrms_[1].forward(add(low, m1))), .r5 = r};
  }

  /// f = gap(M2) + Conv1(gap(R5)), N,width of the last tap.
  Tensor pooled(const StreamOutput& out) const {
    const Tensor mean = global_avg_pool(out.m2);
    return shortcut_ ? add(mean, shortcut_->forward(global_avg_pool(out.r5))) : mean;
  }

  /// Null where the configuration leaves it out.
  const Linear* shortcut() const { return shortcut_ ? &*shortcut_ : nullptr; }

 private:
  std::string name_;
  std::vector<std::int64_t> taps_;
  VggFeatures features_;
  std::deque<Ham> hams_;      // at the taps, in their order
  std::deque<ConvBn> downs_;  // of the middle tap, and twice of the lowest
  std::deque<Mlrm> mlrms_;
  std::optional<Linear> shortcut_;
};

/// The rows that have a modality; an undefined index where all do.
struct Rows {
  std::int64_t count = 0;
  Tensor index;
};

Rows rows_of(const ModelInput& input, std::size_t modality) {
  const std::int64_t n = input.images[modality].shape()[0];
  if (modality >= input.present.size() || input.present[modality].empty()) return {.count = n, .index = {}};
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < n; ++i) {
    if (input.present[modality][static_cast<std::size_t>(i)]) rows.push_back(i);
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  if (count == n) return {.count = n, .index = {}};
  return {.count = count,
          .index = Tensor::from<std::int64_t>(std::span(std::as_const(rows)), {count}, Dtype::i64,
                                              input.images[modality].device())};
}

class HmVgg : public Model {
 public:
  explicit HmVgg(const ModelConfig& config)
      : Model(config),
        streams_(),
        fc1_(classifier_spec(config), config.dtype),
        fc2_({.in = hidden, .out = config.classes}, config.dtype) {
    if (early()) {
      std::int64_t channels = 0;
      for (const std::string& m : config.modalities) channels += config.channels_of(m);
      add_module("early", streams_.emplace_back("early", channels, config));
    } else {
      for (const std::string& m : config.modalities) {
        add_module(m, streams_.emplace_back(m, config.channels_of(m), config));
      }
    }
    add_module("classifier.0", fc1_);
    add_module("classifier.2", fc2_);
  }

  void check_input_size(std::int64_t height, std::int64_t width) const override {
    const std::int64_t h = nearest_size(height), w = nearest_size(width);
    if (h == height && w == width) return;
    fail_usage(fmt::format(
        "hm-vgg cannot take images of {} x {} (height x width): each side must be at least {} and "
        "leave the tapped blocks at sizes that halve exactly; the nearest size that works is {} x {}",
        height, width, smallest_size, h, w));
  }

  std::vector<CamLayer> cam_layers() const override {
    std::vector<CamLayer> layers{{"M2"}, {"M1"}};
    for (auto tap = config_.taps.rbegin(); tap != config_.taps.rend(); ++tap)
      layers.push_back({fmt::format("H{}", *tap)});
    layers.push_back({"R5"});
    return layers;
  }

  std::vector<std::string> cam_streams() const override {
    return early() ? std::vector<std::string>{"early"} : config_.modalities;
  }

  Tensor forward(const ModelInput& input, const ForwardContext& context) override {
    check_input(input);
    if (early()) return forward_early(input, context);
    if (streams_.size() == 1 && !rows_of(input, 0).index)
      return forward_alone(streams_[0], input.images[0], context);
    std::vector<Tensor> features;
    for (std::size_t i = 0; i < streams_.size(); ++i) features.push_back(late_features(i, input, context));
    return classify(features.size() == 1 ? features[0] : concat(features));
  }

 private:
  bool early() const { return config_.fusion == "early"; }

  static LinearSpec classifier_spec(const ModelConfig& config) {
    const auto streams = config.fusion == "early" ? 1 : static_cast<std::int64_t>(config.modalities.size());
    return {.in = streams * width_of_block(config.taps[2]), .out = hidden, .init = Init::kaiming_fan_in};
  }

  std::int64_t nearest_size(std::int64_t size) const {
    std::int64_t low = std::max(size, smallest_size), high = low;
    while (low > smallest_size && !hm_vgg_size_works(config_, low)) --low;
    while (!hm_vgg_size_works(config_, high)) ++high;
    return hm_vgg_size_works(config_, low) && size - low < high - size ? low : high;
  }

  void check_input(const ModelInput& input) const {
    const std::size_t k = config_.modalities.size();
    if (input.images.size() != k || input.present.size() > k) {
      fail(fmt::format(
          "hm-vgg of {} got {} images and {} presence lists; it needs one image for each modality",
          fmt::join(config_.modalities, ","), input.images.size(), input.present.size()));
    }
    for (std::size_t i = 0; i < k; ++i) check_image(input, i);
  }

  void check_image(const ModelInput& input, std::size_t i) const {
    const std::string& name = config_.modalities[i];
    if (!input.images[i]) fail(fmt::format("hm-vgg got no image of modality '{}'", name));
    const Shape &s = input.images[i].shape(), &first = input.images[0].shape();
    if (s.rank() != 4 || s[3] != config_.channels_of(name) || s[0] < 1) {
      fail(fmt::format("hm-vgg got '{}' of {}; it needs N,H,W,{}", name, to_string(s),
                       config_.channels_of(name)));
    }
    const Dtype dtype = input.images[i].dtype();
    if (dtype != config_.dtype && (dtype != Dtype::bf16 || config_.dtype != Dtype::f32)) {
      fail(fmt::format("hm-vgg of {} got '{}' of {}", name_of(config_.dtype), name, name_of(dtype)));
    }
    if (s[0] != first[0] || (early() && (s[1] != first[1] || s[2] != first[2]))) {
      fail(fmt::format("hm-vgg got '{}' of {} beside '{}' of {}; modalities need the same samples{}", name,
                       to_string(s), config_.modalities[0], to_string(first),
                       early() ? " and, with early fusion, the same size" : ""));
    }
    if (i < input.present.size() && !input.present[i].empty() &&
        static_cast<std::int64_t>(input.present[i].size()) != s[0]) {
      fail(fmt::format("hm-vgg got {} presence flags of '{}' for {} samples", input.present[i].size(), name,
                       s[0]));
    }
    check_input_size(s[1], s[2]);
  }

  // One stream with every sample: the fused head where it fits (it needs the shortcut to keep the width).
  Tensor forward_alone(Stream& stream, const Tensor& image, const ForwardContext& context) {
    const StreamOutput out = stream.forward(image, context);
    const Linear* shortcut = stream.shortcut();
    if (shortcut == nullptr || shortcut->weight().shape()[0] != shortcut->weight().shape()[1])
      return classify(stream.pooled(out));
    return head(out.m2, out.r5,
                {.shortcut_weight = shortcut->weight(),
                 .shortcut_bias = shortcut->bias(),
                 .fc1_weight = fc1_.weight(),
                 .fc1_bias = fc1_.bias(),
                 .fc2_weight = fc2_.weight(),
                 .fc2_bias = fc2_.bias()});
  }

  Tensor late_features(std::size_t i, const ModelInput& input, const ForwardContext& context) {
    const Tensor& image = input.images[i];
    const Rows rows = rows_of(input, i);
    const std::int64_t n = image.shape()[0];
    if (rows.count == 0) {
      return Tensor::zeros({n, width_of_block(config_.taps[2])}, image.dtype(), image.device());
    }
    Stream& stream = streams_[i];
    if (!rows.index) return stream.pooled(stream.forward(image, context));
    return scatter_rows(stream.pooled(stream.forward(gather_rows(image, rows.index), context)), rows.index,
                        n);
  }

  // Gather and scatter rather than a product with the mask: whatever fills the missing rows, NaN too, is
  // gone.
  Tensor forward_early(const ModelInput& input, const ForwardContext& context) {
    std::vector<Tensor> parts;
    for (std::size_t i = 0; i < input.images.size(); ++i) {
      const Tensor& image = input.images[i];
      const Rows rows = rows_of(input, i);
      if (rows.count == 0) {
        parts.push_back(Tensor::zeros(image.shape(), image.dtype(), image.device()));
      } else if (rows.index) {
        parts.push_back(scatter_rows(gather_rows(image, rows.index), rows.index, image.shape()[0]));
      } else {
        parts.push_back(image);
      }
    }
    return forward_alone(streams_[0], parts.size() == 1 ? parts[0] : concat(parts), context);
  }

  Tensor classify(const Tensor& features) const {
    return fc2_.forward(fc1_.forward(features, Activation::relu));
  }

  std::deque<Stream> streams_;
  Linear fc1_, fc2_;
};

void check_taps(const std::vector<std::int64_t>& taps) {
  const bool consecutive = taps.size() == 3 && taps[1] == taps[0] + 1 && taps[2] == taps[1] + 1;
  if (!consecutive || taps[0] < 1 || taps[2] > VggFeatures::blocks) {
    fail_usage(fmt::format("taps = {} are not three consecutive VGG blocks; use 1,2,3 or 2,3,4 or 3,4,5",
                           fmt::join(taps, ",")));
  }
}

void check_rates(const std::vector<std::int64_t>& rates) {
  const bool positive =
      std::all_of(rates.begin(), rates.end(), [](std::int64_t r) { return r >= 1 && r <= 1024; });
  if (rates.size() > 4 || !positive) {
    fail_usage(fmt::format("mlrm.rates = {} are not one to four dilations of 1 to 1024, as 1,2,4, or none",
                           fmt::join(rates, ",")));
  }
}

void check_modalities(const ModelConfig& config) {
  if (config.modalities.empty()) fail_usage("modalities is empty; name one or more of fundus, oct, vf");
  std::set<std::string> seen;
  for (const std::string& m : config.modalities) {
    if (config.channels_of(m) < 1 || config.channels_of(m) > 1024) {
      fail_usage(fmt::format("oct.slices = {} is not within 1 and 1024", config.oct_channels));
    }
    if (!seen.insert(m).second) fail_usage(fmt::format("modality '{}' is named twice", m));
  }
}

void check_config(const ModelConfig& config) {
  check_taps(config.taps);
  check_rates(config.mlrm_rates);
  check_modalities(config);
  if (config.mlrm_fuse != "sum" && config.mlrm_fuse != "concat") {
    fail_usage(fmt::format("mlrm.fuse = '{}' is neither sum nor concat", config.mlrm_fuse));
  }
  if (config.fusion != "late" && config.fusion != "early") {
    fail_usage(fmt::format("fusion = '{}' is neither late nor early", config.fusion));
  }
  if (config.classes < 2 || config.classes > 100000) {
    fail_usage(fmt::format("classes = {} is not within 2 and 100000", config.classes));
  }
}

}  // namespace

bool hm_vgg_size_works(const ModelConfig& config, std::int64_t size) {
  if (size < smallest_size) return false;
  const auto at_block = [&](std::int64_t block) { return size >> (block - 1); };  // pooling rounds down
  const auto halved = [](std::int64_t s) { return (s + 1) / 2; };                 // stride 2 rounds up
  const std::int64_t last = at_block(config.taps[2]);
  return halved(at_block(config.taps[1])) == last && halved(halved(at_block(config.taps[0]))) == last;
}

std::unique_ptr<Model> make_hm_vgg(const ModelConfig& config) {
  check_config(config);
  return std::make_unique<HmVgg>(config);
}

}  // namespace fovea
