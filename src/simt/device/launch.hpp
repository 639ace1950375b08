// Launching, limits and memory on a device. Every call of the runtime is checked.
#pragma once

#include <string>

#include "simt/device/core.hpp"

namespace simt::inline on_device {

namespace detail {
inline void check(cudaError_t status, const LaunchName& name, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a launch that was refused leaves nothing behind
  throw Error(Fault::runtime, "kernel '" + std::string(name.text) + "': " + call +
                                  " failed: " + cudaGetErrorString(status) + " [" + name.file + ":" +
                                  std::to_string(name.line) + "]");
}
}  // namespace detail

/// How a kernel is launched. A cluster is so many blocks along x.
struct Launch {
  dim3 grid = 1;
  dim3 block = 1;
  std::size_t shared_bytes = 0;
  unsigned cluster = 1;
  stream_t stream = nullptr;
};

/// Queues the kernel on the stream and returns. Throws Error where the launch is refused.
template <class... Parameters, class... Arguments>
void launch(const LaunchName& name, void (*kernel)(Parameters...), const Launch& l,
            const Arguments&... arguments) {
  if (l.shared_bytes > 48 * 1024) {
    detail::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(l.shared_bytes)),
                  name, "cudaFuncSetAttribute(MaxDynamicSharedMemorySize)");
  }
  if (l.cluster > 8) {
    detail::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), name,
                  "cudaFuncSetAttribute(NonPortableClusterSizeAllowed)");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = l.grid;
  config.blockDim = l.block;
  config.dynamicSmemBytes = l.shared_bytes;
  config.stream = l.stream;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = l.cluster;
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  if (l.cluster > 1) {
    config.attrs = &cluster;
    config.numAttrs = 1;
  }
  detail::check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), name, "cudaLaunchKernelEx");
}

/// Of the current device.
inline Limits limits() {
  const LaunchName name("limits");
  int device = 0, shared = 0, major = 0, minor = 0, multiprocessors = 0, cache = 0;
  detail::check(cudaGetDevice(&device), name, "cudaGetDevice");
  const auto attribute = [&](int& value, cudaDeviceAttr which) {
    detail::check(cudaDeviceGetAttribute(&value, which, device), name, "cudaDeviceGetAttribute");
  };
  attribute(shared, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  attribute(major, cudaDevAttrComputeCapabilityMajor);
  attribute(minor, cudaDevAttrComputeCapabilityMinor);
  attribute(multiprocessors, cudaDevAttrMultiProcessorCount);
  attribute(cache, cudaDevAttrL2CacheSize);
  return {static_cast<std::size_t>(shared), major >= 9 ? 16u : 1u, 10 * major + minor,
          static_cast<unsigned>(multiprocessors), static_cast<std::size_t>(cache)};
}

inline void* device_malloc(std::size_t bytes, const char* name) {
  void* data = nullptr;
  detail::check(cudaMalloc(&data, bytes), name, "cudaMalloc");
  return data;
}
inline void device_free(void* data) { cudaFree(data); }
inline void copy_to_device(void* to, const void* from, std::size_t bytes) {
  detail::check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "copy", "cudaMemcpy");
}
inline void copy_to_host(void* to, const void* from, std::size_t bytes) {
  detail::check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "copy", "cudaMemcpy");
}

}  // namespace simt::inline on_device
