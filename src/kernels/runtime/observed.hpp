// Observed dispatches: what is computed beside a real run to learn about its kernels, without a trace in it. Two
// observers use it: Shadows runs a second kernel on the same inputs (shadow.hpp), Ledger the fp64 reference (ledger.hpp).
//
// The rules that keep the run as it is: observers work on copies; what they dispatch is neither observed nor traced; their
// time is taken out of the traces of the kernels around them, their memory out of the peak, and the scratch that
// kernels share goes back to its size. Off, all of it costs dispatch() one branch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/runtime/primitive.hpp"
#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/stream.hpp"

namespace fovea {

/// A dispatch as it is about to run.
struct Dispatched {
  const Primitive& primitive;
  const Kernel& kernel;
  const void* problem;
  const PortList& specs;
  Ports ports;
  Stream stream;
};

namespace detail {
inline bool observing = false;
}
inline bool observing() { return detail::observing; }
/// Looks again whether any observer is on.
void update_observing();

/// Throws where an observer cannot do what was asked for on this problem.
void check_observed(const Primitive& primitive, const PortList& specs, const void* problem, Device device);
/// Calls `run` once, with the observers around it.
void run_observed(const Dispatched& dispatched, const std::function<void()>& run);
/// What observers took of this thread's time so far.
double observers_seconds();

/// The step under way, counted from 1: by it observers are on or off. Between steps (validation) its number stays.
void begin_observed_step(std::int64_t step);
void end_observed_step();
std::int64_t observed_step();

/// The buffer that CPU kernels share, which lives above this layer.
struct SharedScratch {
  std::size_t (*size)() = nullptr;
  void (*restore)(std::size_t size) = nullptr;
};
void set_shared_scratch(const SharedScratch& scratch);

// ---- for observers

/// While it lives, this thread's dispatches are neither observed nor traced.
class UnseenScope {
 public:
  UnseenScope();
  ~UnseenScope();
  UnseenScope(const UnseenScope&) = delete;
  UnseenScope& operator=(const UnseenScope&) = delete;

 private:
  bool outer_;
  class TraceSink* sink_;
  std::size_t scratch_;
};

/// The ports of a dispatch once more, on the same device: inputs and updates copied, outputs poisoned. Ports that are one
/// and the same (in place) are so here, too.
class PortCopies {
 public:
  PortCopies(const PortList& specs, Ports ports);
  Ports views() const { return views_; }

 private:
  std::vector<std::unique_ptr<Storage>> storage_;
  std::vector<View> views_;
};

/// The time of one run: on a device by events, on the CPU by the clock less what observers took in between.
class Stopwatch {
 public:
  explicit Stopwatch(Stream stream);
  void start();
  void stop();
  /// Nothing where observers worked on the device in between. Waits for the run.
  std::optional<double> seconds() const;

 private:
  Stream stream_;
  Event begin_, end_;
  double observers_ = 0;
};

/// All shapes and dtypes of a dispatch: what is one problem to an observer.
std::string problem_key(const Dispatched& dispatched);

}  // namespace fovea
