// MemoryPlan: the memory of a step of any batch size, from the logs of steps of a few images.
//
// A step of N images makes the same tensors in the same order whatever N is, and the bytes of each are a + b N. Two logs
// give a and b of each, so the whole sequence replays at any N, its peak with it; a third log is the check. A kernel may
// allocate otherwise for other sizes, and a table may choose another kernel: where the third log says so, `exact` is false.
// Where not even the order is the same, the peaks themselves give the line.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "memory_log.hpp"

namespace fovea {

/// A replay. Events count from 0, the step's begin; what stands at i holds before the i-th event.
struct MemoryReplay {
  std::int64_t batch = 0, peak = 0;
  std::size_t peak_at = 0;
  std::vector<LoggedTensor> tensors;                           // of this batch
  std::vector<std::size_t> from, until;                        // of each tensor, in events
  std::vector<std::array<std::int64_t, memory_kinds>> in_use;  // at each event
  std::vector<StepPhase> phases;                               // of each event
  std::int64_t workspace = 0;
  std::string workspace_by;  // who wants the most

  bool alive_at_peak(std::size_t tensor) const { return from[tensor] <= peak_at && peak_at < until[tensor]; }
};

class MemoryPlan {
 public:
  /// Three logs of rising batches; the last two give the line, the first checks it.
  explicit MemoryPlan(std::vector<StepLog> logs);

  /// Of a measured batch its own log, else the line.
  MemoryReplay replay(std::int64_t batch) const;
  std::int64_t peak(std::int64_t batch) const;
  /// The most images whose peak is within the budget; 0: not even one. At most `most`.
  std::int64_t largest_batch(std::int64_t budget, std::int64_t most = std::int64_t{1} << 20) const;

  bool same_sequence() const { return same_sequence_; }
  /// Whether the line gives the first log to the byte.
  bool exact() const { return exact_; }
  const std::vector<StepLog>& logs() const { return logs_; }
  /// One sentence on where the plan comes from.
  std::string basis() const;

 private:
  std::vector<StepLog> logs_;
  bool same_sequence_ = false, exact_ = false;
};

/// Of one log as it was measured.
MemoryReplay replay_of(const StepLog& log);

}  // namespace fovea
