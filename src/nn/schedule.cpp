// Schedules as closed formulas, so that a resumed run needs no state. See schedule.hpp.
//
// Warm-up: step s of the first `warmup_steps` runs at peak * (s+1) / warmup_steps, so the last of them runs
// at the peak. After it, with t = steps since the end of warm-up:
//   cosine   peak * (m + (1-m) (1 + cos(pi t / T)) / 2), T = total_steps - warmup_steps, m = min_factor; then
//   m * peak
//            (Loshchilov & Hutter 2017; torch.optim.lr_scheduler.CosineAnnealingLR up to T)
//   step     peak * gamma^floor(t / step_size)          (torch.optim.lr_scheduler.StepLR)
#include "nn/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

void check(const ScheduleOptions& o, std::int64_t step) {
  const std::vector<std::string> known{"constant", "cosine", "step"};
  if (std::find(known.begin(), known.end(), o.name) == known.end()) {
    fail_usage(fmt::format("there is no schedule '{}'{}", o.name, nearest_hint(o.name, known)));
  }
  if (!(o.learning_rate >= 0) || !std::isfinite(o.learning_rate)) {
    fail_usage(fmt::format("schedule: learning rate {} must be finite and at least 0", o.learning_rate));
  }
  if (o.warmup_steps < 0)
    fail_usage(fmt::format("schedule: {} warm-up steps must be at least 0", o.warmup_steps));
  if (step < 0) fail_usage(fmt::format("schedule: step {} must be at least 0", step));
  if (o.name == "cosine" && o.total_steps <= o.warmup_steps) {
    fail_usage(fmt::format("schedule: cosine needs more steps in all ({}) than warm-up steps ({})",
                           o.total_steps, o.warmup_steps));
  }
  if (o.name == "cosine" && !(o.min_factor >= 0 && o.min_factor <= 1)) {
    fail_usage(fmt::format("schedule: least factor {} must lie in [0, 1]", o.min_factor));
  }
  if (o.name == "step" && o.step_size < 1) {
    fail_usage(fmt::format("schedule: step size {} must be at least 1", o.step_size));
  }
  if (o.name == "step" && !(o.gamma > 0 && std::isfinite(o.gamma))) {
    fail_usage(fmt::format("schedule: gamma {} must be finite and above 0", o.gamma));
  }
}

}  // namespace

double learning_rate_at(const ScheduleOptions& o, std::int64_t step) {
  check(o, step);
  if (step < o.warmup_steps) {
    return o.learning_rate * static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps);
  }
  const std::int64_t after = step - o.warmup_steps;
  if (o.name == "cosine") {
    const double progress =
        std::min(1.0, static_cast<double>(after) / static_cast<double>(o.total_steps - o.warmup_steps));
    return o.learning_rate *
           (o.min_factor + (1 - o.min_factor) * (1 + std::cos(std::numbers::pi * progress)) / 2);
  }
  if (o.name == "step") return o.learning_rate * std::pow(o.gamma, static_cast<double>(after / o.step_size));
  return o.learning_rate;
}

}  // namespace fovea
