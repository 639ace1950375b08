// The values of cudaError_t that the runtime tells apart, readable where there is no CUDA header.
#pragma once

namespace fovea::cuda_status {

inline constexpr int success = 0;
inline constexpr int memory_allocation = 2;
inline constexpr int insufficient_driver = 35;
inline constexpr int no_device = 100;
inline constexpr int no_kernel_image = 209;
inline constexpr int unsupported_ptx = 222;
inline constexpr int illegal_address = 700;
inline constexpr int launch_out_of_resources = 701;

/// Raised by a kernel while it ran, which may have been any before the call that reports it; the context is
/// lost with it. (Illegal address, timeout, assert, hardware stack error, illegal instruction, misaligned
/// address, invalid address space, invalid program counter, launch failure.)
constexpr bool is_of_an_earlier_kernel(int status) {
  return status == illegal_address || status == 702 || status == 710 || (status >= 714 && status <= 719);
}

}  // namespace fovea::cuda_status
