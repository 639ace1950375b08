// Trainer: the epochs of one run, from wherever the run stands.
//
// A step is forward, cross-entropy, backward, update. On a device the host gives it all its work and looks at the loss
// and the gradient norm of the step before, so that neither waits for the other; an epoch ends with a pass over the validation part, a
// row of metrics.jsonl and a checkpoint. Nothing outside (model, optimizer, Position) changes what comes
// next, so a run that goes on from a checkpoint gives the same bytes as one that never stopped.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "batches.hpp"
#include "kernels/runtime/memory.hpp"
#include "nn/optimizer.hpp"
#include "nn/schedule.hpp"
#include "progress.hpp"
#include "results.hpp"
#include "run_folder.hpp"
#include "step_results.hpp"
#include "training_profile.hpp"

namespace fovea {

class Trainer {
 public:
  /// `config` is resolved; the set must outlive the trainer. Errors as those of its parts.
  Trainer(const RunConfig& config, const Dataset& dataset, const Split& split, RunFolder folder);

  /// Steps of this process will be profiled, from the second on; measures this machine's ceilings where they are not
  /// on file.
  void profile();
  /// Goes to the folder's last checkpoint; false where there is none, and the run begins.
  bool resume();
  /// Begins a run: pretrained weights, an empty log.
  void begin();
  /// All epochs that are left. Error, before anything is saved, where a loss or a gradient norm is not finite. False
  /// where a signal or --ab-stop stopped it: the state is saved then.
  bool run();
  /// The held-out part with the checkpoint that the config asks for, written to the folder. Nothing where a
  /// signal stopped it.
  std::optional<Results> finish();

  const Position& position() const { return position_; }

 private:
  bool stop_asked() const;
  bool train_epoch();
  bool end_epoch();
  void step_or_explain(const Batch& batch);
  void train_step(const Batch& batch);
  Tensor forward_backward(const Batch& batch);
  Tensor forward(const Batch& batch);
  void look_at_results(std::size_t behind);
  void account(const StepResult& result);
  void measure_step();
  std::vector<Tensor> model_tensors() const;
  std::optional<std::int64_t> peak_of_step(const Batch& batch);
  [[noreturn]] void fail_memory(const OutOfMemory& error, const Batch& batch);
  bool is_better(const Outcome& validation) const;
  void show_progress();
  std::string utilisation_text() const;
  bool next_batch(Batch& batch);
  void save();
  bool save_is_due() const;
  double seconds_now() const;

  RunConfig config_;
  Device device_;
  const Dataset& dataset_;
  const Split& split_;
  RunFolder folder_;
  std::unique_ptr<Model> model_;
  Optimizer optimizer_;
  Inputs inputs_;
  std::shared_ptr<ImageCache> cache_;
  Loader training_, validation_;
  ScheduleOptions schedule_;
  CrossEntropyOptions loss_;
  Position position_;
  StepResults results_;
  StepMemory memory_;  // of the first step
  Progress progress_;
  KernelsUsed kernels_;
  std::unique_ptr<TrainingProfile> profile_;
  std::optional<Peaks> peaks_;  // on file when the training began
  double step_flops_ = 0;       // of the first step
  double timed_seconds_ = 0;    // of the steps after the first, with their data
  std::int64_t timed_steps_ = 0;
  double learning_rate_ = 0;  // of the last step

  // Of this process alone, for the progress line.
  double began_ = 0, epoch_began_ = 0, last_loss_ = 0, waited_before_ = 0;
  double saved_at_ = 0, save_seconds_ = 0;  // of the last checkpoint; 0: none yet
  std::int64_t steps_here_ = 0;
};

}  // namespace fovea
