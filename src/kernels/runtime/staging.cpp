// A ring of pinned slots, each with an event after which it is free again. See staging.hpp.
#include "kernels/runtime/staging.hpp"

#include <array>
#include <cstddef>
#include <cstring>
#include <mutex>

#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea::staging {
namespace {

struct Slot {
  void* data = nullptr;
  void* event = nullptr;  // null: never used
};

// Never destroyed: copies may be under way until the process ends.
struct Ring {
  std::mutex mutex;
  std::array<Slot, 64> slots;
  std::size_t next = 0;
};
Ring& ring() {
  static Ring* const instance = new Ring;
  return *instance;
}

void make_free(Slot& slot) {
  if (slot.event != nullptr) return device_api::synchronize_event(slot.event);
  if (slot.data == nullptr) slot.data = device_api::allocate_pinned(most);
  if (slot.data == nullptr) fail("out of memory: no pinned memory for copies to the device");
  slot.event = device_api::make_event();
}

}  // namespace

void upload(void* to, const void* from, std::int64_t bytes, void* stream) {
  const std::scoped_lock lock(ring().mutex);
  Slot& slot = ring().slots[ring().next];
  ring().next = (ring().next + 1) % ring().slots.size();
  make_free(slot);
  std::memcpy(slot.data, from, static_cast<std::size_t>(bytes));
  device_api::copy(to, slot.data, bytes, stream);
  device_api::record_event(slot.event, stream);
}

}  // namespace fovea::staging
