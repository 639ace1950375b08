// Host memory, and the hook to the device's. See storage.hpp.
#include "kernels/runtime/storage.hpp"

#include <fmt/format.h>
#include <malloc.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "kernels/runtime/device_memory.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

struct Counter {
  std::atomic<std::int64_t> current{0};
  std::atomic<std::int64_t> peak{0};

  void add(std::int64_t bytes) {
    const std::int64_t now = current.fetch_add(bytes) + bytes;
    std::int64_t seen = peak.load();
    while (now > seen && !peak.compare_exchange_weak(seen, now)) {
    }
  }
};

Counter& counter(Device device) {
  static std::array<Counter, 2> counters;
  return counters[static_cast<std::size_t>(device)];
}

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);                 // large blocks come from the heap too ...
  mallopt(M_TRIM_THRESHOLD, 0x7fffffff);  // ... which does not give them back ...
  mallopt(M_TOP_PAD, 64 * 1024 * 1024);   // ... and grows in large steps
#endif
}

void* allocate_host(std::int64_t bytes) {
  static const bool told = (keep_freed_memory(), true);
  (void)told;
  const std::size_t rounded =
      (static_cast<std::size_t>(bytes) + Storage::alignment - 1) / Storage::alignment * Storage::alignment;
  return std::aligned_alloc(Storage::alignment, rounded == 0 ? Storage::alignment : rounded);
}

}  // namespace

MemoryUse memory_use(Device device) { return {counter(device).current.load(), counter(device).peak.load()}; }

void reset_peak_memory(Device device) { counter(device).peak = counter(device).current.load(); }

Storage::Storage(std::int64_t bytes, Device device) : bytes_(bytes), device_(device) {
  if (bytes < 0) fail(fmt::format("a tensor of {} bytes was asked for", bytes));
  data_ = device == Device::cpu ? allocate_host(bytes) : allocate_device(bytes);
  if (data_ == nullptr) {
    fail(
        fmt::format("out of memory on {}: {} MiB asked for, {} MiB in use; try a smaller batch or image size",
                    name_of(device), bytes >> 20, memory_use(device).current >> 20));
  }
  counter(device).add(bytes);
}

Storage::~Storage() {
  counter(device_).add(-bytes_);
  if (device_ == Device::cpu) {
    std::free(data_);
  } else {
    free_device(data_);
  }
}

}  // namespace fovea
