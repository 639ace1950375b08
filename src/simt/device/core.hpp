// The device half of simt.hpp: thin wrappers over what nvcc offers, PTX where it offers nothing.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "simt/error.hpp"
#include "simt/world.hpp"

namespace simt {
inline namespace on_device {

using stream_t = cudaStream_t;

/// The block's dynamic shared memory as a trivial struct of typed arrays.
template <class T>
__device__ __forceinline__ T& shared() {
  extern __shared__ __align__(1024) unsigned char simt_dynamic_shared[];
  return *reinterpret_cast<T*>(simt_dynamic_shared);
}
/// SIMT_SHARED(float, part, [32]); declares static shared memory.
#define SIMT_SHARED(T, name, ...) __shared__ T name __VA_ARGS__

/// An address in the shared window, as PTX wants it.
__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ unsigned linear_thread() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
__device__ __forceinline__ unsigned lane() { return linear_thread() % 32; }
__device__ __forceinline__ unsigned warp() { return linear_thread() / 32; }

/// A barrier of `threads` threads (a multiple of 32) under one of the 16 names; 0 is __syncthreads'.
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/// Arrives there and goes on: a producer's half of the barrier. `threads` counts those that arrive and those
/// that wait.
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// A cluster is one block before Hopper.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ unsigned cluster_size() {
  unsigned size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
/// The same variable in the shared memory of the block of this rank.
template <class T>
__device__ __forceinline__ T* map_shared_rank(T* pointer, unsigned rank) {
  T* mapped;
  asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(pointer), "r"(rank));
  return mapped;
}
#else
__device__ __forceinline__ unsigned cluster_rank() { return 0; }
__device__ __forceinline__ unsigned cluster_size() { return 1; }
__device__ __forceinline__ void cluster_sync() { __syncthreads(); }
template <class T>
__device__ __forceinline__ T* map_shared_rank(T* pointer, unsigned) {
  return pointer;
}
#endif

}  // namespace on_device
}  // namespace simt
