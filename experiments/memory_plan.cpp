// See memory_plan.hpp.
#include "memory_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

bool alike(const StepLog& a, const StepLog& b) {
  if (a.at_begin != b.at_begin || a.tensors.size() != b.tensors.size() || a.events.size() != b.events.size())
    return false;
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    if (a.tensors[i].made_by != b.tensors[i].made_by ||
        a.tensors[i].shape.rank() != b.tensors[i].shape.rank())
      return false;
  }
  for (std::size_t i = 0; i < a.events.size(); ++i) {
    if (a.events[i].type != b.events[i].type || a.events[i].tensor != b.events[i].tensor) return false;
  }
  return true;
}

/// A line through two batches.
struct Line {
  std::int64_t n0, n1, at;
  std::int64_t of(std::int64_t v0, std::int64_t v1) const {
    return std::max<std::int64_t>(v0 + (at - n0) * (v1 - v0) / (n1 - n0), 0);
  }
};

StepLog at_batch(const StepLog& a, const StepLog& b, std::int64_t batch) {
  const Line line{a.batch, b.batch, batch};
  StepLog log = b;
  log.batch = batch;
  for (std::size_t i = 0; i < log.tensors.size(); ++i) {
    LoggedTensor& t = log.tensors[i];
    t.bytes = line.of(a.tensors[i].bytes, t.bytes);
    for (int d = 0; d < t.shape.rank(); ++d) t.shape[d] = line.of(a.tensors[i].shape[d], t.shape[d]);
  }
  for (std::size_t i = 0; i < log.events.size(); ++i)
    log.events[i].bytes = line.of(a.events[i].bytes, log.events[i].bytes);
  return log;
}

bool same_bytes(const StepLog& a, const StepLog& b) {
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    if (a.tensors[i].bytes != b.tensors[i].bytes) return false;
  }
  for (std::size_t i = 0; i < a.events.size(); ++i) {
    if (a.events[i].bytes != b.events[i].bytes) return false;
  }
  return true;
}

}  // namespace

// The workspace only grows, so a step that is not the first begins with the largest that any of its kernels wants.
MemoryReplay replay_of(const StepLog& log) {
  MemoryReplay r;
  r.batch = log.batch;
  r.tensors = log.tensors;
  const std::size_t count = log.events.size();
  r.from.assign(log.tensors.size(), 0);
  r.until.assign(log.tensors.size(), count + 1);
  std::array<std::int64_t, memory_kinds> now{};
  for (const MemoryEvent& event : log.events) {
    if (event.type != MemoryEvent::Type::workspace || event.bytes <= r.workspace) continue;
    r.workspace = event.bytes;
    r.workspace_by = event.by;
  }
  now[static_cast<std::size_t>(MemoryKind::workspace)] = r.workspace;
  std::int64_t sum = r.workspace;
  const auto add = [&](std::size_t tensor, std::int64_t sign) {
    const LoggedTensor& t = log.tensors[tensor];
    now[static_cast<std::size_t>(t.kind)] += sign * t.bytes;
    sum += sign * t.bytes;
  };
  const auto look = [&](StepPhase phase) {
    if (sum > r.peak) {
      r.peak = sum;
      r.peak_at = r.in_use.size();
    }
    r.in_use.push_back(now);
    r.phases.push_back(phase);
  };
  for (std::size_t i = 0; i < log.at_begin; ++i) add(i, 1);
  look(StepPhase::images);
  for (std::size_t i = 0; i < count; ++i) {
    const MemoryEvent& event = log.events[i];
    if (event.type == MemoryEvent::Type::allocated) {
      r.from[event.tensor] = i + 1;
      add(event.tensor, 1);
    } else if (event.type == MemoryEvent::Type::freed) {
      r.until[event.tensor] = i + 1;
      add(event.tensor, -1);
    }
    look(event.phase);
  }
  return r;
}

MemoryPlan::MemoryPlan(std::vector<StepLog> logs) : logs_(std::move(logs)) {
  if (logs_.size() != 3 || logs_[0].batch >= logs_[1].batch || logs_[1].batch >= logs_[2].batch)
    fail("a memory plan needs the logs of three rising batches");
  same_sequence_ = alike(logs_[1], logs_[2]);
  exact_ = same_sequence_ && alike(logs_[0], logs_[2]) &&
           same_bytes(logs_[0], at_batch(logs_[1], logs_[2], logs_[0].batch));
}

MemoryReplay MemoryPlan::replay(std::int64_t batch) const {
  for (const StepLog& log : logs_) {
    if (log.batch == batch) return replay_of(log);
  }
  if (same_sequence_) return replay_of(at_batch(logs_[1], logs_[2], batch));
  MemoryReplay nearest = replay_of(batch < logs_[1].batch ? logs_[0] : logs_[2]);
  const Line line{logs_[1].batch, logs_[2].batch, batch};
  nearest.peak = line.of(replay_of(logs_[1]).peak, replay_of(logs_[2]).peak);
  return nearest;
}

std::int64_t MemoryPlan::peak(std::int64_t batch) const { return replay(batch).peak; }

std::int64_t MemoryPlan::largest_batch(std::int64_t budget, std::int64_t most) const {
  std::int64_t fits = 0, too_many = most + 1;
  while (too_many - fits > 1) {
    const std::int64_t middle = fits + (too_many - fits) / 2;
    (peak(middle) <= budget ? fits : too_many) = middle;
  }
  return fits;
}

std::string MemoryPlan::basis() const {
  const std::int64_t a = logs_[0].batch, b = logs_[1].batch, c = logs_[2].batch;
  if (!same_sequence_) {
    return fmt::format(
        "steps of {} and {} images do not allocate alike: the peak is on the line through theirs, and the "
        "tensors are those "
        "of the nearest step that was run",
        b, c);
  }
  const double off = 100.0 * (static_cast<double>(replay_of(at_batch(logs_[1], logs_[2], a)).peak) /
                                  static_cast<double>(replay_of(logs_[0]).peak) -
                              1);
  return fmt::format("from steps of {} and {} images; the line through them gives that of {} {}", b, c, a,
                     exact_ ? "to the byte" : fmt::format("within {:.2g} %", std::abs(off)));
}

}  // namespace fovea
