// The calls that a device has for graphs, one by one: for who keeps executables of his own (kernels/cuda/graph_plan.hpp).
// Who captures once and replays takes Graph (stream.hpp), which stands on the same calls. An interface, so that what
// decides about executables is tested without a device.
//
// Memory that the work takes while it is captured belongs to the graph: nodes that allocate and free it, at addresses
// that stay as long as the graph does. So the graph is kept as long as its executable. The driver maps memory to these
// addresses at a launch, and shares it only between graphs that cannot run at once.
#pragma once

#include <functional>

#include "kernels/runtime/device.hpp"

namespace fovea {

class GraphApi {
 public:
  virtual ~GraphApi() = default;

  /// Whether work for this stream can be captured now: not on the host or the emulated device, which record nothing, not
  /// within another capture of this thread, not in debug mode, which looks at what every kernel wrote.
  virtual bool can_capture(Stream stream) = 0;

  /// Runs `work` on a stream of its own, where its launches are recorded, not executed: the graph. Throws what the work
  /// throws, and Error where memory that it took outlives it; nothing of the capture is then left.
  virtual void* capture(const std::function<void(Stream)>& work) = 0;
  virtual void destroy_graph(void* graph) noexcept = 0;

  /// An executable of the graph. Throws Error.
  virtual void* instantiate(void* graph) = 0;
  /// Gives an executable the graph's work from the next launch on. False where the driver refuses, since the two differ
  /// in more than what their nodes are given; the executable is then good for nothing but to be destroyed.
  virtual bool update(void* executable, void* graph) = 0;
  /// One launch begins after what the stream was given so far, and after the executable's launches before it.
  virtual void launch(void* executable, Stream stream) = 0;
  /// No launch of it may still be running.
  virtual void destroy(void* executable) noexcept = 0;
  /// Until all that was launched is done.
  virtual void wait() = 0;
};

/// Of the device.
GraphApi& device_graphs();

}  // namespace fovea
