// See trainer.hpp.
#include "trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "autograd/engine.hpp"
#include "batch_fit.hpp"
#include "data/csv.hpp"
#include "eval/epoch_log.hpp"
#include "interrupts.hpp"
#include "kernels/cpu/workspace.hpp"
#include "kernels/measured_peaks.hpp"
#include "kernels/runtime/clock.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/observed.hpp"
#include "kernels/runtime/shadow.hpp"
#include "kernels/runtime/trace.hpp"
#include "nn/state.hpp"
#include "observers.hpp"
#include "pretrained.hpp"

namespace fovea {
namespace {

ScheduleOptions schedule_of(const RunConfig& config, std::int64_t steps_per_epoch) {
  ScheduleOptions schedule;
  schedule.name = config.schedule;
  schedule.learning_rate = config.learning_rate;
  schedule.warmup_steps = config.warmup_epochs * steps_per_epoch;
  schedule.total_steps = config.epochs * steps_per_epoch;
  schedule.step_size = config.step_epochs * steps_per_epoch;
  schedule.gamma = config.step_gamma;
  schedule.min_factor = config.min_factor;
  return schedule;
}

// "balanced": n / (K n_k), as scikit-learn has it, from the training part.
std::vector<double> balanced_weights(const Dataset& dataset, const Split& split) {
  std::vector<double> weights(dataset.classes.size());
  for (const int i : split.train)
    ++weights[static_cast<std::size_t>(dataset.samples[static_cast<std::size_t>(i)].label)];
  const double n = static_cast<double>(split.train.size()), classes = static_cast<double>(weights.size());
  for (double& w : weights) w = w > 0 ? n / (classes * w) : 0;
  return weights;
}

std::vector<double> class_weights(const RunConfig& config, const Dataset& dataset, const Split& split) {
  if (config.class_weights == "none") return {};
  if (config.class_weights == "balanced") return balanced_weights(dataset, split);
  std::vector<double> weights;
  for (const std::string& cell : split_cell(config.class_weights, ',')) {
    char* end = nullptr;
    weights.push_back(std::strtod(cell.c_str(), &end));
    if (end != cell.c_str() + cell.size() || !std::isfinite(weights.back()) || weights.back() < 0) {
      fail_usage(fmt::format("class_weights is none, balanced or numbers of at least 0, not '{}'",
                             config.class_weights));
    }
  }
  if (weights.size() != dataset.classes.size()) {
    fail_usage(
        fmt::format("class_weights has {} numbers for {} classes", weights.size(), dataset.classes.size()));
  }
  return weights;
}

CrossEntropyOptions loss_of(const RunConfig& config, const Dataset& dataset, const Split& split) {
  CrossEntropyOptions options;
  options.label_smoothing = config.label_smoothing;
  const std::vector<double> weights = class_weights(config, dataset, split);
  if (!weights.empty()) {
    options.class_weights =
        Tensor::from<double>(std::span<const double>(weights), {static_cast<std::int64_t>(weights.size())},
                             config.model.dtype, parse_device(config.device));
  }
  return options;
}

// FNV-1a over what a step depends on; pixels are left out, since reading them all would cost an epoch.
std::string fingerprint(const Dataset& dataset, const Split& split) {
  std::uint64_t hash = 14695981039346656037u;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    hash = (hash ^ 0x1f) * 1099511628211u;
  };
  for (const std::vector<int>* part : {&split.train, &split.validation, &split.test}) {
    for (const int i : *part) {
      const Sample& s = dataset.samples[static_cast<std::size_t>(i)];
      add(s.id);
      add(fmt::format("{} {} {} {} {}", i, s.label, s.has(Modality::fundus), s.oct.size(), s.field.size()));
    }
    add("part");
  }
  return fmt::format("{:016x}", hash);
}

std::int64_t bytes_of(const Tensor& tensor) { return tensor ? tensor.view().bytes() : 0; }

void check_loss(double loss, std::int64_t step) {
  if (std::isfinite(loss)) return;
  fail(fmt::format("the loss is {} at step {}; try a lower --lr or --clip 1", loss, step));
}

void add_kernels(const TraceTotals& totals, KernelsUsed& used) {
  for (const auto& [key, row] : totals.rows()) used[key.first].insert(key.second);
}

}  // namespace

Trainer::Trainer(const RunConfig& config, const Dataset& dataset, const Split& split, RunFolder folder)
    : config_(config),
      device_(parse_device(config.device)),
      dataset_(dataset),
      split_(split),
      folder_(std::move(folder)),
      model_(checked_model(config)),
      optimizer_(model_->parameters(), config.optimizer),
      inputs_(config, dataset),
      cache_(std::make_shared<ImageCache>(inputs_.keep(used_in_epochs(split)) ? 0 : default_cache_bytes)),
      training_(dataset, split.train, input_spec(config),
                training_options(config, inputs_.loader_options(cache_))),
      validation_(dataset, split.validation, input_spec(config), inputs_.loader_options(cache_)),
      schedule_(schedule_of(config, training_.batches())),
      loss_(loss_of(config, dataset, split)),
      results_(device_) {
  learning_rate_at(schedule_, 0);  // refuses what makes no sense before any work is done
  position_.data = fingerprint(dataset, split);
}

void Trainer::profile() {
  model_->name_layers();
  profile_ = std::make_unique<TrainingProfile>(config_, folder_);
}

bool Trainer::resume() {
  const std::string data = position_.data;
  if (!folder_.load(*model_, optimizer_, position_)) return false;
  if (position_.data != data) {
    fail(fmt::format(
        "{}: samples, labels or split are not those the run began with; put them back, or begin a new run",
        dataset_.source));
  }
  truncate_epoch_log(folder_.file("metrics.jsonl"), position_.epoch);
  return true;
}

void Trainer::begin() {
  truncate_epoch_log(folder_.file("metrics.jsonl"), 0);
  if (config_.weights.empty()) return;
  const LoadReport report = load_pretrained(config_.weights, *model_);
  const std::string text = report.text();
  fmt::print(stderr, "{}: {} tensors loaded\n{}{}", config_.weights, report.loaded.size(), text,
             text.empty() ? "" : "\n");
}

// By a signal, or by --ab-stop.
bool Trainer::stop_asked() const { return interrupted() || stopped_by_bound(config_); }

bool Trainer::run() {
  began_ = now_s();
  shadows().report_to([this](const std::string& sentence) { progress_.note(sentence); });
  std::string complaint;
  peaks_ = peaks_on_file(device_, complaint);
  if (!complaint.empty()) progress_.note(complaint + "; 'fovea peaks' measures anew");
  while (position_.epoch < config_.epochs) {
    if (!train_epoch() || !end_epoch()) {
      save();
      return false;
    }
  }
  return true;
}

double Trainer::seconds_now() const { return position_.seconds + now_s() - epoch_began_; }

void Trainer::save() {
  const double begin = now_s();
  optimizer_.zero_grad();  // no part of the state, and their room is needed for weights in the file's layout
  folder_.save(*model_, optimizer_, position_);
  saved_at_ = now_s();
  save_seconds_ = saved_at_ - begin;
}

// Every epoch, but where epochs are so short that writing would take more than a tenth of the time.
bool Trainer::save_is_due() const {
  const bool first = saved_at_ == 0, last = position_.epoch == config_.epochs;
  return first || last || now_s() - saved_at_ >= 10 * save_seconds_;
}

bool Trainer::train_epoch() {
  model_->set_training(true);
  epoch_began_ = now_s();
  if (position_.step > 0) learning_rate_ = learning_rate_at(schedule_, position_.step - 1);
  if (position_.batch >= training_.batches()) return true;
  training_.start(position_.epoch, position_.batch);
  Batch batch;
  while (position_.batch < training_.batches()) {
    if (stop_asked()) {
      look_at_results(0);
      position_.seconds = seconds_now();
      return false;
    }
    const double begin = now_s();
    if (profile_) profile_->begin_step();
    if (!next_batch(batch)) fail("the loader ended before the epoch did");
    if (steps_here_ == 0) {
      TraceTotals totals;
      step_or_explain(batch);
      add_kernels(totals, kernels_);
      step_flops_ = totals.flops();
      memory_.peak = memory_use(device_).peak;
      progress_.note(memory_.text());
    } else {
      step_or_explain(batch);
      timed_seconds_ += now_s() - begin;
      ++timed_steps_;
    }
    if (const std::string said = profile_ ? profile_->end_step() : ""; !said.empty()) progress_.note(said);
    show_progress();
  }
  look_at_results(0);
  return true;
}

bool Trainer::next_batch(Batch& batch) {
  const TraceRange range(RangeKind::data, "data");
  return training_.next(batch);
}

void Trainer::step_or_explain(const Batch& batch) {
  std::optional<OutOfMemory> failure;
  try {
    train_step(batch);
  } catch (const OutOfMemory& error) {
    failure = error;
  }
  // Only here, outside the handler, are all tensors of the step gone.
  if (failure) fail_memory(*failure, batch);
}

// The gradients of the step before go first: the forward needs their room for its activations.
Tensor Trainer::forward_backward(const Batch& batch) {
  optimizer_.zero_grad();
  const Tensor loss = forward(batch);
  if (steps_here_ == 0) memory_.saved = saved_bytes(loss, model_tensors());
  if (device_ == Device::cpu) check_loss(loss.item(), position_.step + 1);
  const TraceRange range(RangeKind::backward, "backward");
  loss.backward();
  return loss;
}

Tensor Trainer::forward(const Batch& batch) {
  std::vector<AuxiliaryLogits> auxiliary;
  const ModelInput input = [&] {
    const TraceRange range(RangeKind::data, "data");
    return inputs_.of(batch);
  }();
  const TraceRange range(RangeKind::forward, "forward");
  const Tensor logits = model_->forward(input, {.stochastic = true,
                                                .seed = config_.seed,
                                                .step = static_cast<std::uint64_t>(position_.step),
                                                .auxiliary = &auxiliary});
  return loss_of(logits, auxiliary, label_tensor(batch), loss_);
}

// Parameters and buffers, and the bf16 copies of parameters.
std::vector<Tensor> Trainer::model_tensors() const {
  std::vector<Tensor> tensors;
  for (const NamedTensor& named : model_->state()) {
    tensors.push_back(named.tensor);
    if (named.tensor.kept_shadow()) tensors.push_back(named.tensor.kept_shadow());
  }
  return tensors;
}

// What stays from step to step, after the first one's backward.
void Trainer::measure_step() {
  for (const Tensor& tensor : model_tensors()) {
    memory_.parameters += bytes_of(tensor);
    memory_.gradients += bytes_of(tensor.grad());
  }
  for (const NamedTensor& named : optimizer_.state()) memory_.optimizer += bytes_of(named.tensor);
  memory_.images = inputs_.kept_bytes();
}

void Trainer::train_step(const Batch& batch) {
  const auto n = static_cast<std::int64_t>(batch.samples.size());
  begin_observed_step(position_.step + 1);
  const Tensor loss = forward_backward(batch);
  if (steps_here_ == 0) measure_step();
  learning_rate_ = learning_rate_at(schedule_, position_.step);
  const TraceRange range(RangeKind::optimizer, "optimizer");
  if (device_ == Device::cpu) {
    optimizer_.step(learning_rate_);
    account({.step = position_.step + 1, .samples = n, .loss = loss.item()});
  } else {
    results_.put(position_.step + 1, n, loss, optimizer_.start_step(learning_rate_));
    look_at_results(1);
  }
  end_observed_step();
  ++position_.step;
  ++position_.batch;
  ++steps_here_;
}

void Trainer::look_at_results(std::size_t behind) {
  while (const std::optional<StepResult> result = results_.take(behind)) {
    check_loss(result->loss, result->step);
    Optimizer::check_norm(result->squares, result->step);
    account(*result);
  }
}

void Trainer::account(const StepResult& result) {
  last_loss_ = result.loss;
  position_.samples += result.samples;
  position_.loss_sum += result.loss * static_cast<double>(result.samples);
}

// Without an update, so that what is tried has the same parameters each time. Twice, since the second step begins
// with the workspace that the first one's kernels made.
std::optional<std::int64_t> Trainer::peak_of_step(const Batch& batch) {
  optimizer_.zero_grad();
  Workspace::release();
  reset_peak_memory(device_);
  try {
    forward_backward(batch);
    forward_backward(batch);
  } catch (const OutOfMemory&) {
    return std::nullopt;
  }
  return memory_use(device_).peak;
}

void Trainer::fail_memory(const OutOfMemory& error, const Batch& batch) {
  const UnseenScope unseen;  // what observers would hold beside is not the batch's
  const auto n = static_cast<std::int64_t>(batch.samples.size());
  const MemoryRequest& request = error.request();
  const std::int64_t fits =
      largest_fitting_batch(n, request.most > 0 ? request.most : request.in_use + request.bytes,
                            [&](std::int64_t samples) { return peak_of_step(first_of(batch, samples)); });
  if (fits == 0) {
    fail(fmt::format("{}; not even a batch of 1 fits: try a smaller --image-size or another model",
                     sentence_of(request)));
  }
  fail(fmt::format("{}; a batch of {} is too large, and the largest that fits is {}: use --batch {}",
                   sentence_of(request), n, fits, fits));
}

void Trainer::show_progress() {
  if (!progress_.due()) return;
  const double seconds = now_s() - began_, epoch_seconds = now_s() - epoch_began_;
  const std::int64_t left = config_.epochs * training_.batches() - position_.step;
  progress_.update(fmt::format(
      "epoch {}/{}  step {}/{}  loss {:.4f}  {:.1f} images/s{}  waiting for data {:.1f} %  left {}",
      position_.epoch + 1, config_.epochs, position_.batch, training_.batches(), last_loss_,
      static_cast<double>(position_.samples) / std::max(position_.seconds + epoch_seconds, 1e-9),
      utilisation_text(), 100 * training_.wait_seconds() / std::max(seconds, 1e-9),
      clock_text(seconds / static_cast<double>(steps_here_) * static_cast<double>(left))));
}

// Operations of the first step by the mean time of the others, against the ceiling that a profile measured before.
std::string Trainer::utilisation_text() const {
  if (!peaks_ || timed_steps_ == 0) return {};
  const Dtype dtype = profiled_dtype(config_);
  const double rate = step_flops_ * static_cast<double>(timed_steps_) / timed_seconds_;
  return fmt::format("  {:.1f} % of the {} ceiling", 100 * rate / peaks_->flops_of(dtype), name_of(dtype));
}

bool Trainer::is_better(const Outcome& v) const {
  if (position_.best_epoch == 0 || v.accuracy > position_.best_accuracy) return true;
  return v.accuracy == position_.best_accuracy && v.loss < position_.best_loss;
}

// The order matters to a run that is killed here: the best weights and the row come first, the checkpoint
// that says the epoch is done comes last, and going on from the one before repeats both.
bool Trainer::end_epoch() {
  const double trained = seconds_now();
  optimizer_.zero_grad();
  const Outcome validation = predict_all(*model_, validation_, inputs_, dataset_, [&](int done) {
    progress_.update(fmt::format("epoch {}/{}  validation {}/{}", position_.epoch + 1, config_.epochs, done,
                                 validation_.batches()));
    return !stop_asked();
  });
  position_.seconds = seconds_now();
  if (!validation.complete) return false;
  EpochRow row;
  row.epoch = position_.epoch + 1;
  row.step = position_.step;
  row.lr = learning_rate_;
  row.train_loss = position_.loss_sum / static_cast<double>(position_.samples);
  row.val_loss = validation.loss;
  row.val_accuracy = validation.accuracy;
  row.images_per_s = static_cast<double>(position_.samples) / std::max(trained, 1e-9);
  row.seconds = position_.seconds;
  const bool best = is_better(validation);
  if (best) {
    save_weights(folder_.file("best.safetensors"), *model_, {{"epoch", fmt::format("{}", row.epoch)}});
    position_.best_epoch = row.epoch;
    position_.best_accuracy = validation.accuracy;
    position_.best_loss = validation.loss;
  }
  append_epoch(folder_.file("metrics.jsonl"), row);
  position_.epoch += 1;
  position_.batch = 0;
  position_.loss_sum = 0;
  position_.samples = 0;
  position_.seconds = 0;
  if (save_is_due()) save();
  const double share = 100 * (training_.wait_seconds() - waited_before_) / std::max(trained, 1e-9);
  waited_before_ = training_.wait_seconds();
  progress_.note(
      fmt::format("epoch {}/{}  step {}  loss {:.4f}  val loss {:.4f}  val accuracy {:.4f}{}  {:.1f} "
                  "images/s{}  waiting for data "
                  "{:.1f} %  left {}",
                  row.epoch, config_.epochs, row.step, row.train_loss, row.val_loss, row.val_accuracy,
                  best ? " (best)" : "", row.images_per_s, utilisation_text(), share,
                  clock_text((now_s() - began_) / std::max<double>(static_cast<double>(steps_here_), 1) *
                             static_cast<double>(config_.epochs * training_.batches() - position_.step))));
  return true;
}

std::optional<Results> Trainer::finish() {
  Results results;
  results.checkpoint = resolve_checkpoint(config_.checkpoint, split_);
  results.note = checkpoint_note(results.checkpoint, split_);
  optimizer_ =
      Optimizer({}, config_.optimizer);  // reading the weights needs room that a step had for its state
  folder_.load_checkpoint(*model_, results.checkpoint);
  Inputs inputs(config_, dataset_);
  Loader held_out(dataset_, split_.test, input_spec(config_), inputs.loader_options(cache_));
  TraceTotals totals;
  const Outcome outcome = predict_all(*model_, held_out, inputs, dataset_, [&](int done) {
    progress_.update(fmt::format("held-out part {}/{}", done, held_out.batches()));
    return !interrupted();
  });
  if (!outcome.complete) return std::nullopt;
  add_kernels(totals, kernels_);
  results.memory = memory_;
  if (profile_) results.profile = profile_->section();
  for (const NamedTensor& named : model_->parameters()) results.parameters += named.tensor.numel();
  results.flops_per_sample = totals.flops() / static_cast<double>(split_.test.size());
  results.metrics = metrics_of(outcome, dataset_, config_);
  results.pictures = run_pictures(*model_, inputs, config_, dataset_, outcome.predictions);
  write_results(folder_, config_, dataset_, split_, outcome, results, kernels_);
  if (config_.keep == "evaluated") folder_.keep_only(results.checkpoint);
  return results;
}

}  // namespace fovea
