// See memory_log.hpp.
#include "memory_log.hpp"

#include <algorithm>
#include <utility>

#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

MemoryKind kind_in(StepPhase phase) {
  switch (phase) {
    case StepPhase::images:
      return MemoryKind::images;
    case StepPhase::forward:
    case StepPhase::validation:
      return MemoryKind::activations;
    case StepPhase::backward:
      return MemoryKind::activation_gradients;
    case StepPhase::update:
      break;
  }
  return MemoryKind::other;
}

// "conv2d.forward (cpu kernel 'onednn', x 8x..)" without what is in brackets: it changes with the batch.
std::string running_name() {
  const std::string text = what_is_running();
  return text.substr(0, text.find(" ("));
}

}  // namespace

const char* name_of(MemoryKind kind) {
  constexpr std::array<const char*, memory_kinds> names{
      "parameters",  "optimizer",        "gradients", "images",    "saved for backward",
      "activations", "activation grads", "scratch",   "workspace", "other"};
  return names[static_cast<std::size_t>(kind)];
}

const char* name_of(StepPhase phase) {
  constexpr std::array<const char*, 5> names{"images", "forward", "backward", "update", "validation"};
  return names[static_cast<std::size_t>(phase)];
}

std::string words_of(const LoggedTensor& tensor) {
  if (!tensor.name.empty()) return tensor.name;
  return tensor.made_by.empty() ? name_of(tensor.kind) : tensor.made_by;
}

MemoryRecorder::MemoryRecorder(Device device) : device_(device), before_(set_allocation_sink(this)) {}
MemoryRecorder::~MemoryRecorder() { set_allocation_sink(before_); }

void MemoryRecorder::begin_step(std::int64_t batch) {
  log_ = {};
  log_.batch = batch;
  std::vector<Alive*> ordered;
  for (auto& [storage, alive] : alive_) ordered.push_back(&alive);
  std::sort(ordered.begin(), ordered.end(),
            [](const Alive* a, const Alive* b) { return a->serial < b->serial; });
  for (Alive* alive : ordered) {
    alive->index = log_.tensors.size();
    log_.tensors.push_back(alive->tensor);
  }
  log_.at_begin = log_.tensors.size();
  in_step_ = true;
  phase_ = StepPhase::images;
}

void MemoryRecorder::enter(StepPhase phase) { phase_ = phase; }

void MemoryRecorder::mark_saved() {
  for (auto& [storage, alive] : alive_) {
    LoggedTensor& tensor = tensor_of(alive);
    if (tensor.kind == MemoryKind::activations || tensor.kind == MemoryKind::scratch)
      tensor.kind = MemoryKind::saved;
  }
}

void MemoryRecorder::tag(const Storage* storage, MemoryKind kind, const std::string& name) {
  const auto found = alive_.find(storage);
  if (found == alive_.end()) return;
  LoggedTensor& tensor = tensor_of(found->second);
  tensor.kind = kind;
  tensor.name = name;
}

StepLog MemoryRecorder::end_step() {
  for (auto& [storage, alive] : alive_) alive.tensor = log_.tensors[alive.index];
  in_step_ = false;
  return std::move(log_);
}

LoggedTensor& MemoryRecorder::tensor_of(Alive& alive) {
  return in_step_ ? log_.tensors[alive.index] : alive.tensor;
}

void MemoryRecorder::allocated(const Storage& storage, const Shape& shape, Dtype dtype) {
  if (storage.device() != device_) return;
  const bool in_kernel = is_dispatching();
  LoggedTensor tensor{.kind = in_kernel ? MemoryKind::scratch : kind_in(phase_),
                      .name = {},
                      .made_by = running_name(),
                      .shape = shape,
                      .dtype = dtype,
                      .bytes = storage.bytes(),
                      .in_kernel = in_kernel};
  Alive& alive = alive_[&storage];
  alive.serial = made_++;
  if (!in_step_) {
    alive.tensor = std::move(tensor);
    return;
  }
  alive.index = log_.tensors.size();
  log_.events.push_back({.phase = phase_, .tensor = alive.index, .by = {}});
  log_.tensors.push_back(std::move(tensor));
}

void MemoryRecorder::freed(const Storage& storage) noexcept {
  const auto found = alive_.find(&storage);
  if (found == alive_.end()) return;
  if (in_step_) {
    log_.events.push_back(
        {.type = MemoryEvent::Type::freed, .phase = phase_, .tensor = found->second.index, .by = {}});
  }
  alive_.erase(found);
}

void MemoryRecorder::workspace_taken(std::int64_t bytes) {
  if (!in_step_ || device_ != Device::cpu) return;
  log_.events.push_back(
      {.type = MemoryEvent::Type::workspace, .phase = phase_, .bytes = bytes, .by = running_name()});
}

}  // namespace fovea
