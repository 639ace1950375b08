// See memory_steps.hpp. Scopes are those of Trainer::train_step(): what is alive when matters here.
#include "memory_steps.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>

#include "batches.hpp"
#include "models/zoo.hpp"
#include "nn/optimizer.hpp"
#include "results.hpp"
#include "simt/host/launch.hpp"
#include "step_results.hpp"

namespace fovea {
namespace {

/// The executor's threads are off while it lives.
class WithoutThreads {
 public:
  explicit WithoutThreads(bool on) : on_(on) {
    if (on_) simt::set_running(false);
  }
  ~WithoutThreads() {
    if (on_) simt::set_running(true);
  }
  WithoutThreads(const WithoutThreads&) = delete;
  WithoutThreads& operator=(const WithoutThreads&) = delete;

 private:
  bool on_;
};

class Steps {
 public:
  Steps(const RunConfig& config, const MemoryStepOptions& options)
      : config_(config),
        options_(options),
        device_(parse_device(config.device)),
        recorder_(device_),
        without_threads_(options.without_threads),
        dataset_(config.data.empty() ? Dataset{} : open_data(config, config.data, true)),
        model_(checked_model(config)),
        inputs_(config, dataset_),
        results_(device_) {
    if (!options.inference) optimizer_.emplace(model_->parameters(), config.optimizer);
    if (!config.data.empty() && !options.inference) keep_images();
  }

  StepLog run(std::int64_t batch) {
    const Batch made = batch_of(batch);
    recorder_.begin_step(batch);
    tag_what_stays();
    if (options_.inference) {
      infer(made, StepPhase::forward);
    } else {
      train(made);
      recorder_.enter(StepPhase::validation);
      optimizer_->zero_grad();
      infer(made, StepPhase::validation);
    }
    return recorder_.end_step();
  }

 private:
  void keep_images() {
    std::vector<int> used = used_in_epochs(make_split(dataset_, split_options(config_)));
    if (inputs_.keep(used)) kept_ = std::move(used);
  }

  Batch batch_of(std::int64_t n) const {
    Batch batch;
    for (std::int64_t i = 0; i < n; ++i) {
      batch.samples.push_back(kept_.empty() ? static_cast<int>(i)
                                            : kept_[static_cast<std::size_t>(i) % kept_.size()]);
      batch.labels.push_back(i % config_.model.classes);
    }
    const InputSpec spec = input_spec(config_);
    for (const Modality modality : spec.modalities) batch.inputs.push_back(input_of(batch, modality, spec));
    return batch;
  }

  Batch::Input input_of(const Batch& batch, Modality modality, const InputSpec& spec) const {
    Batch::Input input;
    input.modality = modality;
    input.channels = spec.channels(modality);
    const std::size_t n = batch.samples.size();
    input.present.assign(n, 1);
    if (device_ == Device::cpu) {
      std::mt19937 generator(1);
      std::normal_distribution<float> normal;
      input.values.resize(n * static_cast<std::size_t>(config_.height * config_.width * input.channels));
      for (float& v : input.values) v = normal(generator);
      return input;
    }
    const auto image = std::make_shared<Image>(
        make_image(static_cast<int>(config_.height), static_cast<int>(config_.width), input.channels, 100));
    for (std::size_t i = 0; i < n; ++i) {
      if (!kept_.empty())
        input.present[i] = dataset_.samples[static_cast<std::size_t>(batch.samples[i])].has(modality);
      input.raw.push_back({.image = input.present[i] ? image : nullptr, .mean = 100, .map = {}});
    }
    return input;
  }

  // What was there when the step began.
  void tag_what_stays() {
    for (const NamedTensor& named : model_->state()) {
      recorder_.tag(named.tensor.storage().get(), MemoryKind::parameters, named.name);
      if (const Tensor shadow = named.tensor.kept_shadow())
        recorder_.tag(shadow.storage().get(), MemoryKind::parameters, named.name + " in bf16");
      if (const Tensor& gradient = named.tensor.grad())
        recorder_.tag(gradient.storage().get(), MemoryKind::gradients, named.name);
    }
    if (!optimizer_) return;
    for (const NamedTensor& named : optimizer_->state())
      recorder_.tag(named.tensor.storage().get(), MemoryKind::optimizer, named.name);
  }

  ModelInput images_of(const Batch& batch, StepPhase then) {
    ModelInput input = inputs_.of(batch);
    recorder_.enter(then);
    return input;
  }

  void infer(const Batch& batch, StepPhase phase) {
    const NoGrad no_grad;
    model_->set_training(false);
    model_->forward(images_of(batch, phase), {.stochastic = false});
  }

  Tensor forward_backward(const Batch& batch) {
    optimizer_->zero_grad();
    std::vector<AuxiliaryLogits> auxiliary;
    const Tensor logits =
        model_->forward(images_of(batch, StepPhase::forward),
                        {.stochastic = true, .seed = config_.seed, .auxiliary = &auxiliary});
    const Tensor loss = loss_of(logits, auxiliary, label_tensor(batch),
                                {.label_smoothing = config_.label_smoothing, .class_weights = {}});
    recorder_.mark_saved();
    recorder_.enter(StepPhase::backward);
    loss.backward();
    return loss;
  }

  // With a learning rate of 0, so that every step has the same weights.
  void train(const Batch& batch) {
    model_->set_training(true);
    const Tensor loss = forward_backward(batch);
    tag_what_stays();
    recorder_.enter(StepPhase::update);
    if (device_ == Device::cpu) {
      optimizer_->step(0);
      return;
    }
    results_.put(1, static_cast<std::int64_t>(batch.samples.size()), loss, optimizer_->start_step(0));
    results_.take(0);
  }

  const RunConfig config_;
  MemoryStepOptions options_;
  Device device_;
  MemoryRecorder recorder_;  // before all that allocates
  WithoutThreads without_threads_;
  Dataset dataset_;
  std::unique_ptr<Model> model_;
  std::optional<Optimizer> optimizer_;
  Inputs inputs_;
  StepResults results_;
  std::vector<int> kept_;  // samples whose images stay on the device
};

}  // namespace

std::vector<StepLog> log_steps(const RunConfig& config, const std::vector<std::int64_t>& batches,
                               const MemoryStepOptions& options) {
  Steps steps(config, options);
  steps.run(batches.front());  // makes the optimizer's state
  std::vector<StepLog> logs;
  for (const std::int64_t batch : batches) logs.push_back(steps.run(batch));
  return logs;
}

}  // namespace fovea
