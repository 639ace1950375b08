// See workspace.hpp.
#include "kernels/cpu/workspace.hpp"

#include <memory>
#include <utility>

#include "kernels/runtime/allocation_log.hpp"
#include "kernels/runtime/storage.hpp"

namespace fovea {

namespace {

std::unique_ptr<Storage>& shared_storage() {
  static std::unique_ptr<Storage> storage;
  return storage;
}

}  // namespace

Workspace Workspace::take(std::size_t bytes) {
  if (AllocationSink* const sink = allocation_sink()) sink->workspace_taken(static_cast<std::int64_t>(bytes));
  const AllocationsUnseen unseen;
  std::unique_ptr<Storage>& storage = shared_storage();
  if (storage == nullptr || static_cast<std::size_t>(storage->bytes()) < bytes) {
    storage.reset();
    storage = std::make_unique<Storage>(static_cast<std::int64_t>(bytes));
  }
  Workspace workspace;
  workspace.at_ = static_cast<std::byte*>(storage->data());
  return workspace;
}

void Workspace::release() { shared_storage().reset(); }

std::size_t Workspace::size() {
  return shared_storage() == nullptr ? 0 : static_cast<std::size_t>(shared_storage()->bytes());
}

void Workspace::restore(std::size_t size) {
  if (size == Workspace::size()) return;
  release();
  if (size > 0) take(size);
}

void* Workspace::next(std::size_t bytes) { return std::exchange(at_, at_ + rounded(bytes)); }

}  // namespace fovea
