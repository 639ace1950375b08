// DeviceArray: memory that kernels see, with copies to and from host vectors; for tests, benchmarks and small
// programs. On the host it is filled with NaN and known to the checker by its name.
#pragma once

#include <cstddef>
#include <vector>

#include "simt/core.hpp"

namespace simt {
inline namespace SIMT_WORLD {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count, const char* name = "array")
      : count_(count), data_(static_cast<T*>(device_malloc(count * sizeof(T), name))) {}
  explicit DeviceArray(const std::vector<T>& values, const char* name = "array")
      : DeviceArray(values.size(), name) {
    copy_to_device(data_, values.data(), count_ * sizeof(T));
  }
  ~DeviceArray() { device_free(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  /// Waits for all launches before it.
  std::vector<T> to_host() const {
    std::vector<T> values(count_);
    copy_to_host(values.data(), data_, count_ * sizeof(T));
    return values;
  }

 private:
  std::size_t count_;
  T* data_;
};

}  // namespace SIMT_WORLD
}  // namespace simt
