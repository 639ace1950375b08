// Trains what a comparison plans: a process for each run, several side by side, going on where an earlier one stopped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comparison_plan.hpp"
#include "run_config.hpp"

namespace fovea {

/// How many trainings at a time, each with how many threads.
struct SideBySide {
  std::int64_t jobs = 1, threads = 1;
  std::vector<std::string> devices;  // of each job, for CUDA_VISIBLE_DEVICES; empty: the CPU
};

/// `jobs` and `threads` as asked for, 0: as many as the machine carries. On the CPU one for every two processors, and for
/// every 4 GiB of free memory; else one for each device.
SideBySide side_by_side(std::int64_t jobs, std::int64_t threads, bool cuda);

/// The decision itself.
SideBySide decide_side_by_side(std::int64_t jobs, std::int64_t threads, std::int64_t processors,
                               std::int64_t free_bytes, std::int64_t cuda_devices,
                               const std::string& visible_devices);

/// How far each run of the plan is, below `folder`. UsageError where the configuration of one is not the planned one.
std::vector<RunState> states_of(const ComparisonPlan& plan, const RunConfig& shared,
                                const std::string& folder);

/// The configuration of a planned run, resolved.
RunConfig config_of(const RunConfig& shared, const PlannedRun& run);

/// The error that a log ends with; empty where it does not.
std::string failure_in(const std::string& log);

/// Trains every run that is not finished by `states`, in folders below `folder`/runs; messages in `folder`/logs. Failures, one
/// sentence by run or empty, in the order of the plan. False where a signal stopped it: the states are saved.
bool train_all(const ComparisonPlan& plan, const RunConfig& shared, const std::vector<RunState>& states,
               const SideBySide& how, const std::string& folder, std::vector<std::string>& failures);

}  // namespace fovea
