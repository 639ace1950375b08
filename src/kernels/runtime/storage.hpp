// Storage: owned, 64-byte aligned bytes on a device, and the count of what is alive.
//
// Host memory comes from malloc, told once to keep what is freed: activations of 100 MB would otherwise be
// mapped, zeroed page by page and unmapped again in every step, which costs more than many kernels that fill
// them. Device memory comes from the driver's stream-ordered pool, on the thread's current stream (stream.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernels/runtime/device.hpp"
#include "kernels/runtime/device_pool.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea {

/// Bytes of all Storage alive now, and the most there ever were since the last reset.
struct MemoryUse {
  std::int64_t current = 0;
  std::int64_t peak = 0;
};
MemoryUse memory_use(Device device = Device::cpu);
void reset_peak_memory(Device device = Device::cpu);

class Storage {
 public:
  static constexpr std::size_t alignment = 64;

  /// Contents are unspecified. Throws OutOfMemory (memory.hpp) where memory runs out or would pass the limit.
  explicit Storage(std::int64_t bytes, Device device = Device::cpu);
  /// For a tensor, which the error then describes.
  Storage(const Shape& shape, Dtype dtype, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Counts in-place changes, so that the engine can tell when a saved tensor was overwritten.
  std::uint32_t version = 0;
  /// How many of them only filled channels of an image that nothing had been written to before.
  std::uint32_t filled = 0;

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  Device device_ = Device::cpu;
  bool has_red_zones_ = false;  // debug.hpp
  device_pool::Block block_;    // what was allocated; data_ lies in it
};

}  // namespace fovea
