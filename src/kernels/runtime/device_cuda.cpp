// A build with CUDA: the first device, its stream-ordered pool, and why it cannot be used.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "kernels/runtime/device_memory.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    return "this machine has no CUDA device";
  if (status != cudaSuccess) return fmt::format("CUDA cannot be used: {}", cudaGetErrorString(status));
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return "the CUDA device does not answer";
  if (properties.major < 8) {
    return fmt::format("{} has compute capability {}.{}; fovea's kernels are built for 8.0 and 9.0",
                       properties.name, properties.major, properties.minor);
  }
  return "";
}

void* allocate_device(std::int64_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMallocAsync(&data, static_cast<std::size_t>(bytes), nullptr);
  if (status == cudaSuccess) return data;
  cudaGetLastError();  // clears it: an allocation that failed is reported by the caller
  if (status == cudaErrorMemoryAllocation) return nullptr;
  fail(fmt::format("device memory: {}", cudaGetErrorString(status)));
}

void free_device(void* data) { cudaFreeAsync(data, nullptr); }

}  // namespace fovea
