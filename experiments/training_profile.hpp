// A profile of some steps in the middle of a training, and what it leaves: profile.json, trace.json, a section of the
// run's report.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "eval/profile_report.hpp"
#include "run_config.hpp"
#include "run_folder.hpp"

namespace fovea {

/// What a config says of a profile.
ProfileFacts profile_facts(const RunConfig& config, const char* mode);
/// The type whose ceiling a run of the config is held against.
Dtype profiled_dtype(const RunConfig& config);
/// The best clock of the device that the config runs on; null for the host. Why it is events is said on stderr.
std::unique_ptr<DeviceClock> clock_for(const RunConfig& config);
/// Those of the machine that the config runs on, measured where they are not on file; stderr says so.
Peaks peaks_for(const RunConfig& config, bool again = false);

/// Writes a trace and says on stderr where it had to stop.
void write_trace(const std::string& path, const Profile& profile, std::int64_t most_bytes);

constexpr std::int64_t default_trace_bytes = std::int64_t{64} << 20;

class TrainingProfile {
 public:
  static constexpr int most_steps = 20;

  TrainingProfile(const RunConfig& config, RunFolder folder);

  /// Around each step of the training with its data; the first step of a process is not profiled.
  void begin_step();
  /// After the last step that is profiled it writes the files, and says so.
  std::string end_step();
  /// HTML, empty where no step was profiled. Writes the files of what was profiled if that was not done.
  std::string section();

 private:
  void write_files();
  ProfileView view() const;

  RunFolder folder_;
  Profile profile_;
  Peaks peaks_;
  ProfileFacts facts_;
  Dtype dtype_;
  bool first_ = true, in_step_ = false, written_ = false;
};

}  // namespace fovea
