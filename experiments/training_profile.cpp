// See training_profile.hpp.
#include "training_profile.hpp"

#include <fmt/format.h>

#include "kernels/cuda/device_activity.hpp"
#include "kernels/measured_peaks.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/chrome_trace.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {

ProfileFacts profile_facts(const RunConfig& config, const char* mode) {
  ProfileFacts facts;
  facts.model = config.model.name;
  facts.mode = mode;
  facts.device = config.device;
  facts.dtype = config.amp ? "bf16 with f32 weights" : config.dtype;
  facts.batch = config.batch;
  facts.height = config.height;
  facts.width = config.width;
  facts.threads = static_cast<int>(config.threads);
  return facts;
}

Dtype profiled_dtype(const RunConfig& config) { return config.amp ? Dtype::bf16 : config.model.dtype; }

Peaks peaks_for(const RunConfig& config, bool again) {
  return peaks_of(parse_device(config.device), again,
                  [](const std::string& sentence) { fmt::print(stderr, "{}\n", sentence); });
}

std::unique_ptr<DeviceClock> clock_for(const RunConfig& config) {
  std::string why_events;
  std::unique_ptr<DeviceClock> clock = best_device_clock(parse_device(config.device), &why_events);
  if (!why_events.empty()) fmt::print(stderr, "times are read from CUDA events: {}\n", why_events);
  return clock;
}

void write_trace(const std::string& path, const Profile& profile, std::int64_t most_bytes) {
  const ChromeTraceSize size = write_chrome_trace(path, profile, most_bytes);
  if (size.left_out > 0) {
    fmt::print(stderr, "{} stops at {} after {} events; {} later ones are left out\n", path,
               bytes_text(most_bytes), size.written, size.left_out);
  }
}

TrainingProfile::TrainingProfile(const RunConfig& config, RunFolder folder)
    : folder_(std::move(folder)),
      profile_(parse_device(config.device), clock_for(config)),
      peaks_(peaks_for(config)),
      facts_(profile_facts(config, "training")),
      dtype_(profiled_dtype(config)) {
  facts_.warm_up = 1;
}

ProfileView TrainingProfile::view() const {
  return {.profile = profile_, .peaks = peaks_, .facts = facts_, .by = ProfileBy::kernel, .dtype = dtype_};
}

void TrainingProfile::begin_step() {
  if (profile_.steps() >= most_steps) return;
  if (!first_) {
    profile_.begin_step();
    in_step_ = true;
  }
  first_ = false;
}

std::string TrainingProfile::end_step() {
  if (!in_step_) return {};
  profile_.end_step();
  in_step_ = false;
  if (profile_.steps() < most_steps) return {};
  write_files();
  return fmt::format("profiled {} steps: {:.1f} ms a step, {:.1f} % of the {} ceiling; {}", profile_.steps(),
                     profile_.step_seconds() * 1e3, 100 * utilisation(view()), name_of(dtype_),
                     folder_.file("profile.json"));
}

void TrainingProfile::write_files() {
  facts_.memory_peak = memory_use(parse_device(facts_.device)).peak;
  write_file_atomically(folder_.file("profile.json"), profile_json(view()));
  write_trace(folder_.file("trace.json"), profile_, default_trace_bytes);
  written_ = true;
}

std::string TrainingProfile::section() {
  if (profile_.steps() == 0) return {};
  if (!written_) write_files();
  return profile_section(view());
}

}  // namespace fovea
