// See workspace.hpp.
#include "kernels/cpu/workspace.hpp"

#include <memory>
#include <utility>

#include "kernels/runtime/storage.hpp"

namespace fovea {

Workspace Workspace::take(std::size_t bytes) {
  static std::unique_ptr<Storage> storage;
  if (storage == nullptr || static_cast<std::size_t>(storage->bytes()) < bytes) {
    storage.reset();
    storage = std::make_unique<Storage>(static_cast<std::int64_t>(bytes));
  }
  Workspace workspace;
  workspace.at_ = static_cast<std::byte*>(storage->data());
  return workspace;
}

void* Workspace::next(std::size_t bytes) { return std::exchange(at_, at_ + rounded(bytes)); }

}  // namespace fovea
