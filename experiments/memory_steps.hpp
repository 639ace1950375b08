// Steps that are run only to see what they allocate: as Trainer runs them, on random images.
#pragma once

#include <string>
#include <vector>

#include "memory_log.hpp"
#include "run_config.hpp"

namespace fovea {

struct MemoryStepOptions {
  bool inference = false;
  /// Launches on the emulated device compute nothing: what they allocate is seen in seconds.
  bool without_threads = false;
};

/// A log for each batch, in the order given, after a step that nobody looks at. `config` has been applied to the process;
/// with its set on a device the images that train() keeps there are kept too.
std::vector<StepLog> log_steps(const RunConfig& config, const std::vector<std::int64_t>& batches,
                               const MemoryStepOptions& options);

}  // namespace fovea
