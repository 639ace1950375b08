// Streams, events, graphs: who owns them, and the order of work on a device.
//
// All device work of a thread (kernels, copies, allocation and release of memory) goes to its current stream
// unless a call names another: the default stream, or that of the innermost StreamScope. So memory is handed
// out and taken back in the order in which it is used. On the CPU everything is done when the call returns, and
// the same classes work (events read the clock, a graph calls its function again), so that benchmarks are
// written once.
#pragma once

#include <functional>

#include "kernels/runtime/device.hpp"

namespace fovea {

/// Waits until all work of the stream is done; throws what went wrong in it.
void synchronize(Stream stream);
/// The same for everything on the device.
void synchronize(Device device);

/// Owns a stream. Its destructor waits for the work on it.
class OwnedStream {
 public:
  explicit OwnedStream(Device device);
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Stream stream_;
};

/// Where this thread's work on the device goes.
Stream current_stream(Device device);

/// Makes a stream current on this thread for a scope.
class StreamScope {
 public:
  explicit StreamScope(Stream stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Stream before_;
};

/// A point in a stream's work.
class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream stream);
  /// Work given to the stream from now on waits for this event. The host does not.
  void hold_back(Stream stream) const;
  /// The host waits.
  void synchronize() const;
  /// Milliseconds from `begin` to `end`, both recorded; waits for `end`.
  static double elapsed_ms(const Event& begin, const Event& end);

 private:
  Device device_;
  void* handle_ = nullptr;
  double host_ms_ = 0;
};

/// Work captured once and replayed with one call. Memory must exist before the capture or live and die within
/// it (scratch of a composed kernel); in debug mode nothing is captured, since every kernel is looked at.
class Graph {
 public:
  /// Runs `work` on a stream of its own, where its launches are recorded, not executed. The CPU and an emulated
  /// device record nothing: a replay calls `work`.
  Graph(Device device, const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void replay(Stream stream) const;

 private:
  Device device_;
  std::function<void()> work_;
  void* handle_ = nullptr;
};

}  // namespace fovea
