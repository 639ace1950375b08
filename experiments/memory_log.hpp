// StepLog: every allocation of one training step (or one inference), and what each was for.
//
// A recorder sees Storage come and go (allocation_log.hpp) from before the model is made. What a tensor is for follows from
// who holds it (parameters, gradients, the optimizer's state) and, of the rest, from when it lives: what a forward leaves
// alive is what the graph saved for its backward.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/runtime/allocation_log.hpp"
#include "kernels/runtime/storage.hpp"

namespace fovea {

enum class MemoryKind : std::uint8_t {
  parameters,  // buffers too, and bf16 copies
  optimizer,
  gradients,  // of parameters
  images,     // the batch, and what stays on the device of the set
  saved,      // by the forward for the backward
  activations,
  activation_gradients,
  scratch,    // of one kernel while it runs
  workspace,  // the one of all CPU kernels
  other,
};
inline constexpr std::size_t memory_kinds = 10;
const char* name_of(MemoryKind kind);

enum class StepPhase : std::uint8_t { images, forward, backward, update, validation };
const char* name_of(StepPhase phase);

struct LoggedTensor {
  MemoryKind kind = MemoryKind::other;
  std::string name;     // a parameter's, or empty
  std::string made_by;  // "conv2d", "backward of 'conv2d'"
  Shape shape;
  Dtype dtype = Dtype::u8;
  std::int64_t bytes = 0;
  bool in_kernel = false;  // made while a kernel ran
};

/// Its name, or who made it, or what it is for.
std::string words_of(const LoggedTensor& tensor);

struct MemoryEvent {
  enum class Type : std::uint8_t { allocated, freed, workspace };
  Type type = Type::allocated;
  StepPhase phase = StepPhase::images;
  std::size_t tensor = 0;  // index into StepLog::tensors
  std::int64_t bytes = 0;  // of a workspace
  std::string by;          // who takes the workspace
};

struct StepLog {
  std::int64_t batch = 0;
  std::size_t at_begin = 0;  // so many of the tensors were there when the step began
  std::vector<LoggedTensor> tensors;
  std::vector<MemoryEvent> events;
};

class MemoryRecorder final : public AllocationSink {
 public:
  /// Sees the device's allocations from now on, until it dies.
  explicit MemoryRecorder(Device device);
  ~MemoryRecorder();
  MemoryRecorder(const MemoryRecorder&) = delete;
  MemoryRecorder& operator=(const MemoryRecorder&) = delete;

  void begin_step(std::int64_t batch);
  void enter(StepPhase phase);
  /// The forward is done: what it made and what is alive is saved.
  void mark_saved();
  /// Says what a tensor that is alive is for.
  void tag(const Storage* storage, MemoryKind kind, const std::string& name);
  StepLog end_step();

  void allocated(const Storage& storage, const Shape& shape, Dtype dtype) override;
  void freed(const Storage& storage) noexcept override;
  void workspace_taken(std::int64_t bytes) override;

 private:
  struct Alive {
    LoggedTensor tensor;    // before a step
    std::size_t index = 0;  // within one
    std::uint64_t serial = 0;
  };
  LoggedTensor& tensor_of(Alive& alive);

  Device device_;
  AllocationSink* before_;
  std::map<const Storage*, Alive> alive_;
  std::uint64_t made_ = 0;
  bool in_step_ = false;
  StepPhase phase_ = StepPhase::images;
  StepLog log_;
};

}  // namespace fovea
