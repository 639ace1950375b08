// See cam_pass.hpp.
#include "eval/cam_pass.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "eval/predictions.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

/// Parameters without gradients for a scope.
class Frozen {
 public:
  explicit Frozen(const Model& model) : parameters_(model.parameters()) { require(false); }
  ~Frozen() { require(true); }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  void require(bool on) {
    for (NamedTensor& p : parameters_) p.tensor.set_requires_grad(on);
  }
  std::vector<NamedTensor> parameters_;
};

std::string resolve(const Model& model, const std::string& wanted) {
  std::vector<std::string> names, known;
  for (const CamLayer& layer : model.cam_layers()) {
    if (layer.name == wanted || std::ranges::find(layer.aliases, wanted) != layer.aliases.end())
      return layer.name;
    names.push_back(layer.name);
    known.push_back(layer.name);
    known.insert(known.end(), layer.aliases.begin(), layer.aliases.end());
  }
  const std::string hint = nearest_hint(wanted, known);
  const std::string all = fmt::format("; layers are {}", fmt::join(names, ", "));
  fail_usage(fmt::format("{} has no layer '{}'{}{}", model.config().name, wanted,
                         hint.find("did you mean") == hint.npos ? "" : hint, all));
}

// Of a batch in which some samples may lack the input that the stream reads.
std::vector<std::int64_t> samples_of(const Model& model, const ModelInput& input, const std::string& stream) {
  const std::vector<std::string> names = model.config().input_names();
  const auto at = static_cast<std::size_t>(std::ranges::find(names, stream) - names.begin());
  const bool some = at < input.present.size() && !input.present[at].empty();
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < input.images.at(0).shape()[0]; ++i)
    if (!some || input.present[at][static_cast<std::size_t>(i)]) samples.push_back(i);
  return samples;
}

std::vector<std::int64_t> targets_of(const Tensor& logits, std::optional<std::int64_t> target) {
  const std::vector<double> values = logits.to_doubles();
  const auto classes = static_cast<std::size_t>(logits.shape()[1]);
  std::vector<std::int64_t> targets;
  for (std::size_t begin = 0; begin < values.size(); begin += classes)
    targets.push_back(target ? *target : most_likely(std::span(values).subspan(begin, classes)));
  return targets;
}

Tensor one_hot(const Tensor& logits, const std::vector<std::int64_t>& targets) {
  const std::int64_t classes = logits.shape()[1];
  std::vector<double> values(static_cast<std::size_t>(logits.numel()));
  for (std::size_t i = 0; i < targets.size(); ++i)
    values[i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(targets[i])] = 1;
  return Tensor::from<double>(std::span<const double>(values), logits.shape(), logits.dtype(),
                              logits.device());
}

using Captured = std::vector<std::pair<std::string, Tensor>>;

std::vector<CamLayerValues> wanted_of(const Captured& captured, const Model& model, const ModelInput& input,
                                      const std::vector<std::string>& layers) {
  std::vector<std::string> streams = model.cam_streams();
  if (streams.empty()) streams.emplace_back();
  std::vector<CamLayerValues> wanted;
  for (const std::string& stream : streams) {
    for (const std::string& layer : layers) {
      const std::string name = stream.empty() ? layer : stream + "." + layer;
      const auto found = std::ranges::find(captured, name, &Captured::value_type::first);
      if (found == captured.end()) continue;
      wanted.push_back({stream, layer, samples_of(model, input, stream), found->second, {}});
    }
  }
  return wanted;
}

}  // namespace

std::vector<std::string> resolve_cam_layers(const Model& model, const std::vector<std::string>& wanted) {
  if (wanted.empty()) return {model.cam_layers().front().name};
  std::vector<std::string> layers;
  for (const std::string& name : wanted) {
    layers.push_back(resolve(model, name));
    if (std::ranges::find(layers.begin(), layers.end() - 1, layers.back()) != layers.end() - 1)
      fail_usage(fmt::format("the layer {} is named twice", layers.back()));
  }
  return layers;
}

CamPass cam_pass(Model& model, const ModelInput& input, const std::vector<std::string>& layers,
                 std::optional<std::int64_t> target) {
  model.set_training(false);
  const Frozen frozen(model);
  ModelInput watched = input;
  for (Tensor& image : watched.images) image = image.detach().set_requires_grad(true);
  Captured captured;
  const Tensor logits = model.forward(watched, {.stochastic = false, .capture = &captured});
  if (!logits.requires_grad()) fail("no sample has any of the model's inputs, so there is nothing to map");
  CamPass pass{logits.to(Dtype::f64).to(Device::cpu), targets_of(logits, target),
               wanted_of(captured, model, input, layers)};
  captured.clear();
  for (CamLayerValues& layer : pass.layers) {
    layer.activation.register_hook([&layer](const Tensor& gradient) {
      layer.gradient = gradient;
      return Tensor{};
    });
  }
  logits.backward(one_hot(logits, pass.targets));
  for (CamLayerValues& layer : pass.layers) {
    layer.activation = layer.activation.detach().to(Device::cpu);
    layer.gradient = layer.gradient ? layer.gradient.to(Device::cpu)
                                    : Tensor::zeros(layer.activation.shape(), layer.activation.dtype());
  }
  return pass;
}

}  // namespace fovea
