// Learning-rate schedules, a pure function of the step.
#pragma once

#include <cstdint>
#include <string>

namespace fovea {

struct ScheduleOptions {
  std::string name = "constant";  // constant | cosine | step
  double learning_rate = 1e-4;    // the peak
  std::int64_t warmup_steps = 0;  // linear from 0 (exclusive) to the peak
  std::int64_t total_steps = 0;   // cosine: reaches min_factor * peak here
  std::int64_t step_size = 0;     // step: multiplied by gamma every so many steps
  double gamma = 0.1;
  double min_factor = 0;
};

/// For step 0, 1, ...; UsageError for an unknown name or a nonsensical value.
double learning_rate_at(const ScheduleOptions& options, std::int64_t step);

}  // namespace fovea
