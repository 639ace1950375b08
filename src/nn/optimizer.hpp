// Optimizers: SGD with momentum, Adam, AdamW, as torch.optim has them, in one multi-tensor pass over all
// parameters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module.hpp"

namespace fovea {

struct OptimizerOptions {
  std::string name = "adam";  // adam | adamw | sgd
  double weight_decay = 0;    // adam, sgd: added to the gradient; adamw: decoupled
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double momentum = 0.9;  // sgd
  double clip_norm = 0;   // > 0: gradients are scaled so that their global norm is at most this
};

class Optimizer {
 public:
  /// UsageError for an unknown name or a nonsensical value, Error for parameters of different or no floating
  /// types or equal names.
  Optimizer(std::vector<NamedTensor> parameters, const OptimizerOptions& options);

  /// One update of every parameter that has a gradient, with this learning rate; returns the gradients' norm
  /// before clipping. A norm that is not finite is an Error and changes nothing.
  double step(double learning_rate);
  /// As step(), but the host waits for nothing: returns the sum of squares of all gradients, a scalar (f64) where the
  /// parameters lie. Where it is not finite, no tensor was changed, and the caller ends the run by check_norm().
  Tensor start_step(double learning_rate);
  /// Error where the norm is not finite; `step` counts from 1.
  static void check_norm(double squares, std::int64_t step);
  void zero_grad();

  std::int64_t steps() const { return steps_; }
  /// Moments under "<parameter>/exp_avg", "<parameter>/exp_avg_sq" or "<parameter>/momentum"; the counts of
  /// updates as i64 scalars "<parameter>/step" (adam, adamw) and of steps as "steps": bit-exact resume. The
  /// moments are handles: they change with the next step.
  std::vector<NamedTensor> state() const;
  void load_state(const std::vector<NamedTensor>& state);  // Error naming what is missing or misshapen

 private:
  std::vector<std::size_t> with_gradient() const;
  Tensor update(const std::vector<std::size_t>& updated, double learning_rate);
  void count(const std::vector<std::size_t>& updated);

  std::vector<NamedTensor> parameters_;
  OptimizerOptions options_;
  std::vector<Tensor> first_, second_;
  std::vector<std::int64_t> updates_;  // per parameter: those without a gradient in a step are passed over
  std::int64_t steps_ = 0;
};

}  // namespace fovea
