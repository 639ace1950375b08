// Memory that stands for a device's: its pages can be touched only while code runs "on the device", so host code
// that follows a device pointer faults at once. For the emulated device (device_none.cpp) and for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace fovea {

/// Safe to use from several threads.
class ProtectedMemory {
 public:
  explicit ProtectedMemory(std::int64_t capacity) : capacity_(capacity) {}

  /// Null where the sum would pass the capacity. Every byte is 0xFF, which is NaN in every floating type.
  void* allocate(std::int64_t bytes);
  bool release(void* data);  // false: it was not allocated here
  void release_all();

  /// Code runs on the device until as many close() as open() were called.
  void open();
  void close();

  void copy(void* to, const void* from, std::int64_t bytes);
  void fill(void* data, unsigned char byte, std::int64_t bytes);

  std::int64_t capacity() const { return capacity_; }
  std::int64_t used() const;
  std::size_t blocks() const;

 private:
  struct Block {
    std::int64_t bytes = 0;
    std::size_t mapped = 0;
  };
  void protect(int access);
  template <class F>
  void touching(void* to, const void* from, F&& work);
  std::map<void*, Block>::iterator block_around(const void* data);

  mutable std::mutex mutex_;
  std::map<void*, Block> blocks_;
  std::int64_t capacity_, used_ = 0;
  int open_ = 0;
};

}  // namespace fovea
