// cp.async, device half (sm_80).
#pragma once

#include "simt/device/core.hpp"

namespace simt {
inline namespace on_device {

/// Starts copying `bytes` (0 to width) from global to shared memory and zeros up to `width`, which is 4, 8 or
/// 16; both addresses are multiples of it.
template <int width>
__device__ __forceinline__ void cp_async(void* to, const void* from, int bytes = width) {
  static_assert(width == 4 || width == 8 || width == 16, "cp.async moves 4, 8 or 16 bytes");
  if constexpr (width == 16) {  // past the first-level cache
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from),
                 "n"(width), "r"(bytes)
                 : "memory");
  }
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most so many of this thread's latest groups are under way. A barrier must follow before
/// other threads read what arrived.
template <int groups_left>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

}  // namespace on_device
}  // namespace simt
