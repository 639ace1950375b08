// Host memory, the device's pool, and the count and limit of both. See storage.hpp and memory.hpp.
#include "kernels/runtime/storage.hpp"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "kernels/runtime/allocation_log.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

struct Counter {
  std::atomic<std::int64_t> current{0};
  std::atomic<std::int64_t> peak{0};
  std::atomic<std::int64_t> limit{0};  // 0: none

  /// False, with nothing added, where the sum would pass the limit.
  bool add(std::int64_t bytes) {
    const std::int64_t now = current.fetch_add(bytes) + bytes, most = limit.load();
    if (most > 0 && now > most) {
      current.fetch_sub(bytes);
      return false;
    }
    std::int64_t seen = peak.load();
    while (now > seen && !peak.compare_exchange_weak(seen, now)) {
    }
    return true;
  }
};

Counter& counter(Device device) {
  static std::array<Counter, 2> counters;
  return counters[static_cast<std::size_t>(device)];
}

AllocationSink* sink = nullptr;

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

device_pool::Block allocate(std::int64_t bytes, Device device) {
  if (device == Device::cuda) return device_pool::allocate(bytes);
  return {allocate_host(bytes), nullptr};
}

[[noreturn]] void fail_memory(const Shape& shape, Dtype dtype, std::int64_t bytes, Device device) {
  throw OutOfMemory({.what = what_is_running(),
                     .device = device,
                     .shape = shape,
                     .dtype = dtype,
                     .bytes = bytes,
                     .in_use = memory_use(device).current,
                     .most = device_memory_info(device).total});
}

}  // namespace

AllocationSink* set_allocation_sink(AllocationSink* next) { return std::exchange(sink, next); }
AllocationSink* allocation_sink() { return sink; }

MemoryUse memory_use(Device device) { return {counter(device).current.load(), counter(device).peak.load()}; }

void reset_peak_memory(Device device) { counter(device).peak = counter(device).current.load(); }

PeakScope::PeakScope(Device device) : device_(device), before_(memory_use(device).peak) {}
PeakScope::~PeakScope() { counter(device_).peak = std::max(before_, memory_use(device_).current); }

ObserverMemory::ObserverMemory(Device device)
    : device_(device), before_(memory_use(device).peak), current_(memory_use(device).current) {}
void ObserverMemory::begin_run() {
  held_ = memory_use(device_).current - current_;
  reset_peak_memory(device_);
}
void ObserverMemory::end_run() { peak_ = memory_use(device_).peak - held_; }
ObserverMemory::~ObserverMemory() {
  counter(device_).peak = std::max({before_, peak_, memory_use(device_).current});
}

void set_memory_limit(Device device, std::int64_t bytes) { counter(device).limit = bytes; }
std::int64_t memory_limit(Device device) { return counter(device).limit.load(); }

Storage::Storage(std::int64_t bytes, Device device) : Storage({bytes}, Dtype::u8, device) {}

Storage::Storage(const Shape& shape, Dtype dtype, Device device)
    : bytes_(shape.numel() * size_of(dtype)), device_(device), has_red_zones_(debug()) {
  if (bytes_ < 0) fail(fmt::format("a tensor of {} was asked for", to_string(shape)));
  if (!counter(device).add(bytes_)) fail_memory(shape, dtype, bytes_, device);
  const std::int64_t margin = has_red_zones_ ? red_zone_bytes : 0;
  block_ = allocate(bytes_ + 2 * margin, device);
  if (block_.data == nullptr) {
    counter(device).add(-bytes_);
    fail_memory(shape, dtype, bytes_, device);
  }
  data_ = static_cast<std::byte*>(block_.data) + margin;
  if (has_red_zones_) add_red_zones(data_, bytes_, device);
  if (sink != nullptr) sink->allocated(*this, shape, dtype);
}

Storage::~Storage() {
  if (sink != nullptr) sink->freed(*this);
  if (has_red_zones_) remove_red_zones(data_);
  counter(device_).add(-bytes_);
  if (device_ == Device::cpu) {
    std::free(block_.data);
  } else {
    device_pool::release(block_);
  }
}

}  // namespace fovea
