// Trace: who ran, when, for how long. dispatch() reports every kernel; with no sink installed it costs one
// branch.
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
  int depth = 0;  // 0: called by no other kernel
  // The primitive's Problem and ports; not beyond record().
  const void* problem = nullptr;
  Ports ports;
};

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void record(const TraceEvent& event) = 0;
};

/// Installs a sink (null: none) and returns the one before.
TraceSink* set_trace_sink(TraceSink* sink);
TraceSink* trace_sink();

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
