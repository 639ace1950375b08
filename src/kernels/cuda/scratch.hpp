// Scratch: memory of one kernel launch or a few, on the stream's device, for kernel files of both worlds.
//
// On a device it comes from the stream-ordered pool and goes back in the order of the stream, so it may be
// destroyed while the kernels that use it are still queued. On the host executor it holds NaN, and the checker
// knows it by its name as undefined until written.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/runtime/storage.hpp"
#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

template <class T>
class Scratch {
 public:
  Scratch(std::int64_t count, Stream stream, const char* name)
      : storage_(count * static_cast<std::int64_t>(sizeof(T)), stream.device) {
#if defined(SIMT_HOST)
    const auto bytes = static_cast<std::size_t>(storage_.bytes());
    std::memset(storage_.data(), 0xFF, bytes);
    simt::watch(storage_.data(), bytes, name, false);
#else
    (void)name;
#endif
  }
#if defined(SIMT_HOST)
  ~Scratch() { simt::unwatch(storage_.data()); }
#else
  ~Scratch() = default;
#endif
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return static_cast<T*>(storage_.data()); }

 private:
  Storage storage_;
};

}  // namespace fovea::SIMT_WORLD
