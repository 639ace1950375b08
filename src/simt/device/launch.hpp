// Launching, limits and memory on a device. Every call of the runtime is checked.
#pragma once

#include <string>

#include "simt/device/core.hpp"

namespace simt {
inline namespace on_device {

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

namespace detail {
inline Limits limits_of(int device) {
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "limits", "cudaDeviceGetAttribute");
    return value;
  };
  const int major = attribute(cudaDevAttrComputeCapabilityMajor);
  return {static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)), major >= 9 ? 16u : 1u,
          10 * major + attribute(cudaDevAttrComputeCapabilityMinor),
          static_cast<unsigned>(attribute(cudaDevAttrMultiProcessorCount)),
          static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize))};
}
}  // namespace detail

/// Of the current device; asked once, since launchers want them at every launch.
inline Limits limits() {
  thread_local int known = -1;
  thread_local Limits limits;
  int device = 0;
  detail::check(cudaGetDevice(&device), "limits", "cudaGetDevice");
  if (device != known) {
    limits = detail::limits_of(device);
    known = device;
  }
  return limits;
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

}  // namespace on_device
}  // namespace simt
