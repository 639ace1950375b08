// Trace: who ran, when, for how long. dispatch() reports every kernel, TraceRange what the kernels are part of; with no
// sink installed each costs one branch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct TraceEvent {
  const Primitive* primitive = nullptr;
  const Kernel* kernel = nullptr;
  double begin_s = 0;  // on the steady clock
  double seconds = 0;  // with nested dispatches
  double self_seconds = 0;
  Cost cost;
  int depth = 0;           // 0: called by no other kernel
  int device_number = -1;  // with the sink's clock of the device, where there is one
  // The primitive's Problem and ports; not beyond record().
  const void* problem = nullptr;
  Ports ports;
};

/// What a range of time is: a training step, its parts, and the work of one layer within them.
enum class RangeKind : std::uint8_t { step, data, forward, backward, optimizer, layer };

class DeviceClock;

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void record(const TraceEvent& event) = 0;
  /// Ranges nest. `name` is interned or a literal.
  virtual void enter(RangeKind, const char* /*name*/) {}
  virtual void leave() {}
  /// Where not null, kernels on a device are timed by it.
  virtual DeviceClock* device_clock() { return nullptr; }
};

/// Installs a sink (null: none) and returns the one before.
TraceSink* set_trace_sink(TraceSink* sink);
TraceSink* trace_sink();

/// A range while it lives. Null: none.
class TraceRange {
 public:
  TraceRange(RangeKind kind, const char* name) : sink_(name == nullptr ? nullptr : trace_sink()) {
    if (sink_ != nullptr) sink_->enter(kind, name);
  }
  ~TraceRange() {
    if (sink_ != nullptr) sink_->leave();
  }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

 private:
  TraceSink* sink_;
};

/// Sums per primitive and kernel; installs itself while it lives.
class TraceTotals : public TraceSink {
 public:
  struct Row {
    std::int64_t calls = 0;
    double self_seconds = 0;
    double flops = 0;
    double bytes = 0;
  };
  TraceTotals() : before_(set_trace_sink(this)) {}
  ~TraceTotals() override { set_trace_sink(before_); }
  void record(const TraceEvent& event) override;
  /// Keyed by {primitive name, kernel name}.
  const std::map<std::pair<std::string, std::string>, Row>& rows() const { return rows_; }
  /// Of what was asked for: the kernels that no other kernel called.
  double flops() const { return flops_; }

 private:
  double flops_ = 0;
  std::map<std::pair<std::string, std::string>, Row> rows_;
  TraceSink* before_;
};

}  // namespace fovea
