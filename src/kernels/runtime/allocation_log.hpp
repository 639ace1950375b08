// Allocations as they happen, for whoever wants to know where a step's memory goes: one branch each where nobody does.
//
// The host's allocations are one sequence: kernels allocate from the thread that dispatches them, never from within a
// parallel region.
#pragma once

#include <cstdint>

#include "kernels/runtime/view.hpp"

namespace fovea {

class Storage;

class AllocationSink {
 public:
  /// Of a tensor, or of bytes alone (rank 1, u8). what_is_running() and is_dispatching() (running.hpp) say for whom.
  virtual void allocated(const Storage& storage, const Shape& shape, Dtype dtype) = 0;
  virtual void freed(const Storage& storage) noexcept = 0;
  /// A CPU kernel starts, which needs so many bytes of the one workspace (cpu/workspace.hpp), there or not.
  virtual void workspace_taken(std::int64_t bytes) = 0;

 protected:
  ~AllocationSink() = default;
};

/// Null: nobody wants to know. Returns the one before.
AllocationSink* set_allocation_sink(AllocationSink* sink);
AllocationSink* allocation_sink();

/// What is allocated and freed while it lives is not shown to the sink.
class AllocationsUnseen {
 public:
  AllocationsUnseen() : sink_(set_allocation_sink(nullptr)) {}
  ~AllocationsUnseen() { set_allocation_sink(sink_); }
  AllocationsUnseen(const AllocationsUnseen&) = delete;
  AllocationsUnseen& operator=(const AllocationsUnseen&) = delete;

 private:
  AllocationSink* sink_;
};

}  // namespace fovea
