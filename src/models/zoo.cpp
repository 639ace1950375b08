// The zoo: names to models, and keys to configurations. See zoo.hpp.
//
// One table holds each key with its setter and its getter, so that what is written to a config is what is
// read.
#include "models/zoo.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <utility>

#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"
#include "models/convnext.hpp"
#include "models/densenet.hpp"
#include "models/hm_vgg.hpp"
#include "models/inception.hpp"
#include "models/resnet.hpp"
#include "models/vgg.hpp"
#include "models/vgg_features.hpp"

namespace fovea {
namespace {

constexpr std::array<std::string_view, 3> all_modalities{"fundus", "oct", "vf"};

template <class Range>
std::string one_of(std::string_view key, std::string_view value, const Range& known) {
  const std::vector<std::string> names(known.begin(), known.end());
  if (std::find(names.begin(), names.end(), value) == names.end()) {
    fail_usage(fmt::format("{} = '{}' is not known{}", key, value, nearest_hint(value, names)));
  }
  return std::string(value);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string> parts_of(std::string_view value) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find(',', begin), value.size());
    parts.emplace_back(trimmed(value.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parts;
}

std::int64_t integer(std::string_view key, std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
    fail_usage(fmt::format("{}: '{}' is not a whole number of at least 1", key, text));
  }
  return value;
}

std::vector<std::int64_t> integers(std::string_view key, std::string_view value) {
  std::vector<std::int64_t> numbers;
  for (const std::string& part : parts_of(value)) numbers.push_back(integer(key, part));
  return numbers;
}

bool boolean(std::string_view key, std::string_view value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  fail_usage(fmt::format("{} = '{}' is neither true nor false", key, value));
}

std::vector<std::string> modalities(std::string_view key, std::string_view value) {
  std::vector<std::string> names;
  for (const std::string& part : parts_of(value)) names.push_back(one_of(key, part, all_modalities));
  return names;
}

struct Key {
  std::string_view name;
  void (*set)(ModelConfig& config, std::string_view key, std::string_view value);
  std::string (*get)(const ModelConfig& config);
};

using Text = std::string_view;
constexpr std::array<std::string_view, 3> variants{"paper", "scse", "none"};
constexpr std::array<std::string_view, 2> fuses{"sum", "concat"}, fusions{"late", "early"};

std::vector<std::int64_t> rates(Text key, Text value) {
  return value == "none" ? std::vector<std::int64_t>{} : integers(key, value);
}

const std::array<Key, 12> keys{{
    {"classes", [](ModelConfig& c, Text k, Text v) { c.classes = integer(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", c.classes); }},
    {"backbone", [](ModelConfig& c, Text k, Text v) { c.backbone = one_of(k, v, VggFeatures::backbones()); },
     [](const ModelConfig& c) { return c.backbone; }},
    {"bn", [](ModelConfig& c, Text k, Text v) { c.bn = boolean(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", c.bn); }},
    {"taps", [](ModelConfig& c, Text k, Text v) { c.taps = integers(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", fmt::join(c.taps, ",")); }},
    {"ham.variant", [](ModelConfig& c, Text k, Text v) { c.ham_variant = one_of(k, v, variants); },
     [](const ModelConfig& c) { return c.ham_variant; }},
    {"mlrm.rates", [](ModelConfig& c, Text k, Text v) { c.mlrm_rates = rates(k, v); },
     [](const ModelConfig& c) {
       return c.mlrm_rates.empty() ? "none" : fmt::format("{}", fmt::join(c.mlrm_rates, ","));
     }},
    {"mlrm.fuse", [](ModelConfig& c, Text k, Text v) { c.mlrm_fuse = one_of(k, v, fuses); },
     [](const ModelConfig& c) { return c.mlrm_fuse; }},
    {"modalities", [](ModelConfig& c, Text k, Text v) { c.modalities = modalities(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", fmt::join(c.modalities, ",")); }},
    {"fusion", [](ModelConfig& c, Text k, Text v) { c.fusion = one_of(k, v, fusions); },
     [](const ModelConfig& c) { return c.fusion; }},
    {"shortcut", [](ModelConfig& c, Text k, Text v) { c.shortcut = boolean(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", c.shortcut); }},
    {"oct.slices", [](ModelConfig& c, Text k, Text v) { c.oct_channels = integer(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", c.oct_channels); }},
    {"inception.transform_input", [](ModelConfig& c, Text k, Text v) { c.transform_input = boolean(k, v); },
     [](const ModelConfig& c) { return fmt::format("{}", c.transform_input); }},
}};

}  // namespace

std::vector<std::string> ModelConfig::input_names() const {
  return name == "hm-vgg" ? modalities : std::vector<std::string>{"image"};
}

std::int64_t ModelConfig::channels_of(std::string_view modality) const {
  if (modality == "fundus") return 3;
  if (modality == "oct") return oct_channels;
  if (modality == "vf") return 1;
  const std::vector<std::string> known(all_modalities.begin(), all_modalities.end());
  fail_usage(fmt::format("there is no modality '{}'{}", modality, nearest_hint(modality, known)));
}

void set_model_key(ModelConfig& config, std::string_view key, std::string_view value) {
  std::vector<std::string> known;
  for (const Key& k : keys) {
    if (k.name == key) return k.set(config, key, trimmed(value));
    known.emplace_back(k.name);
  }
  fail_usage(fmt::format("a model has no key '{}'{}", key, nearest_hint(key, known)));
}

std::vector<std::pair<std::string, std::string>> model_keys(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Key& k : keys) all.emplace_back(k.name, k.get(config));
  return all;
}

namespace {

struct Maker {
  const char* name;
  std::unique_ptr<Model> (*make)(const ModelConfig& config);
};
constexpr Maker makers[] = {{"hm-vgg", make_hm_vgg},
                            {"vgg11", make_vgg},
                            {"vgg13", make_vgg},
                            {"vgg11_bn", make_vgg},
                            {"vgg13_bn", make_vgg},
                            {"resnet18", make_resnet},
                            {"resnet50", make_resnet},
                            {"densenet161", make_densenet},
                            {"convnext_tiny", make_convnext},
                            {"inception_v3", make_inception}};

// The comparison models take one image of three channels.
void check_comparison(const ModelConfig& config) {
  if (config.modalities.size() == 1 && config.channels_of(config.modalities[0]) == 3) return;
  fail_usage(
      fmt::format("{} takes one image of three channels, not {}; use --modalities fundus, or --model hm-vgg",
                  config.name, fmt::join(config.modalities, ",")));
}

}  // namespace

ModelInput samples_of(const ModelInput& input, std::int64_t first, std::int64_t last) {
  const NoGrad no_grad;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(last - first));
  std::iota(rows.begin(), rows.end(), first);
  ModelInput part;
  for (const Tensor& image : input.images) {
    part.images.push_back(
        gather_rows(image, Tensor::from<std::int64_t>(std::span(std::as_const(rows)), {last - first},
                                                      Dtype::i64, image.device())));
  }
  for (const std::vector<std::uint8_t>& present : input.present)
    part.present.push_back(present.empty() ? present
                                           : std::vector(present.begin() + first, present.begin() + last));
  return part;
}

Tensor loss_of(const Tensor& logits, const std::vector<AuxiliaryLogits>& auxiliary, const Tensor& labels,
               const CrossEntropyOptions& options) {
  Tensor loss = cross_entropy(logits, labels, options);
  for (const AuxiliaryLogits& head : auxiliary) {
    const Tensor own = cross_entropy(head.logits, labels, options);
    loss = add(loss, multiply(own, Tensor::scalar(head.weight, own.dtype(), own.device())));
  }
  return loss;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Maker& maker : makers) names.emplace_back(maker.name);
  return names;
}

std::unique_ptr<Model> make_model(const ModelConfig& config) {
  const auto maker = std::find_if(std::begin(makers), std::end(makers),
                                  [&](const Maker& m) { return config.name == m.name; });
  if (maker == std::end(makers)) {
    fail_usage(
        fmt::format("there is no model '{}'{}", config.name, nearest_hint(config.name, model_names())));
  }
  if (config.dtype != Dtype::f32 && config.dtype != Dtype::f64) {
    fail_usage(fmt::format("a model cannot be of {}; use f32 or f64", name_of(config.dtype)));
  }
  if (config.name != "hm-vgg") check_comparison(config);
  std::unique_ptr<Model> model = maker->make(config);
  model->initialise(config.seed);
  return model;
}

}  // namespace fovea
