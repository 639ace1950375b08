// See batches.hpp.
#include "batches.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/runtime/error.hpp"

namespace fovea {

InputSpec input_spec(const RunConfig& config) {
  InputSpec spec;
  spec.modalities.clear();
  for (const std::string& name : config.model.modalities) spec.modalities.push_back(parse_modality(name));
  spec.image_height = static_cast<int>(config.height);
  spec.image_width = static_cast<int>(config.width);
  spec.oct_slices = static_cast<int>(config.model.oct_channels);
  spec.mirror_left_eyes = config.mirror_left_eyes;
  return spec;
}

Dataset open_data(const RunConfig& config, const std::string& path, bool labels_required) {
  if (path.empty()) fail_usage("no set is named; give --data PATH");
  DatasetOptions options;
  options.label_column = config.label;
  options.labels_required = labels_required;
  options.classes = config.class_names;
  return open_dataset(path, options);
}

LoaderOptions training_options(const RunConfig& config, LoaderOptions options) {
  options.training = true;
  if (config.augmented) options.augment = config.augment;
  return options;
}

std::vector<int> used_in_epochs(const Split& split) {
  std::vector<int> samples = split.train;
  samples.insert(samples.end(), split.validation.begin(), split.validation.end());
  return samples;
}

std::unique_ptr<Model> checked_model(const RunConfig& config) {
  std::unique_ptr<Model> model = make_model(config.model);
  model->check_input_size(config.height, config.width);
  model->to(parse_device(config.device));
  return model;
}

Tensor label_tensor(const Batch& batch) {
  return Tensor::from<std::int64_t>(std::span<const std::int64_t>(batch.labels),
                                    {static_cast<std::int64_t>(batch.labels.size())}, Dtype::i64);
}

namespace {

// -log softmax(logits)[label], which stays finite where the probability underflows.
double cross_entropy_of(std::span<const double> logits, std::size_t label) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double z : logits) sum += std::exp(z - most);
  return std::log(sum) - (logits[label] - most);
}

}  // namespace

Outcome predict_all(Model& model, Loader& loader, Inputs& inputs, const Dataset& dataset,
                    const std::function<bool(int)>& go_on) {
  NoGrad no_grad;
  model.set_training(false);
  Outcome outcome;
  std::int64_t labelled = 0, correct = 0, classes = model.config().classes;
  Batch batch;
  loader.start(0);
  for (int done = 1; loader.next(batch); ++done) {
    const Tensor output = model.forward(inputs.of(batch), {.stochastic = false});
    const std::vector<double> all = output.to_doubles();
    for (std::size_t i = 0; i < batch.samples.size(); ++i) {
      const std::span<const double> logits(all.data() + static_cast<std::int64_t>(i) * classes,
                                           static_cast<std::size_t>(classes));
      const Sample& sample = dataset.samples[static_cast<std::size_t>(batch.samples[i])];
      if (std::any_of(logits.begin(), logits.end(), [](double z) { return !std::isfinite(z); })) {
        fail(fmt::format("{}: the network's output is not finite; the weights or the image are damaged",
                         sample.id));
      }
      Prediction p{.id = sample.id,
                   .subject = sample.subject,
                   .label = sample.label,
                   .predicted = 0,
                   .probabilities = softmax(logits)};
      p.predicted = most_likely(p.probabilities);
      if (p.label >= 0) {
        ++labelled;
        correct += p.label == p.predicted;
        outcome.loss += cross_entropy_of(logits, static_cast<std::size_t>(p.label));
      }
      outcome.predictions.push_back(std::move(p));
    }
    if (go_on && !go_on(done)) {
      outcome.complete = done == loader.batches();
      if (!outcome.complete) break;
    }
  }
  const double n = static_cast<double>(std::max<std::int64_t>(labelled, 1));
  outcome.loss /= n;
  outcome.accuracy = static_cast<double>(correct) / n;
  return outcome;
}

}  // namespace fovea
