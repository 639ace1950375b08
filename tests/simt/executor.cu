// Kernels that use each part of the executor once.
#include "simt/world.hpp"

#if defined(SIMT_HOST)

#include "simt/executor.hpp"

namespace simt_tests {
namespace {

constexpr unsigned all = 0xffffffffu;

__global__ void reverse_kernel(const float* x, float* y) {
  SIMT_SHARED(float, tile, [1024]);
  const unsigned t = simt::linear_thread(), n = blockDim.x * blockDim.y * blockDim.z;
  const unsigned first = n * (blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  tile[t] = x[first + t];
  __syncthreads();
  y[first + t] = tile[n - 1 - t];
}

__global__ void shuffles_kernel(float* y) {
  const int t = int(threadIdx.x);
  const float value = float(t);
  y[t] = __shfl_sync(all, value, 5);
  y[32 + t] = __shfl_sync(all, value, 5, 8);
  y[64 + t] = __shfl_xor_sync(all, value, 1);
  y[96 + t] = __shfl_xor_sync(all, value, 12, 8);
  y[128 + t] = __shfl_up_sync(all, value, 3);
  y[160 + t] = __shfl_up_sync(all, value, 3, 16);
  y[192 + t] = __shfl_down_sync(all, value, 3);
  y[224 + t] = __shfl_down_sync(all, value, 3, 4);
  y[256 + t] = float(__shfl_sync(all, double(t) * 0.5, t + 1));
  y[288 + t] = float(__shfl_xor_sync(all, static_cast<long long>(t) << 33, 31) >> 33);
  y[320 + t] = simt::warp_sum(value);
  y[352 + t] = simt::warp_max(float(t ^ 9));
}

__global__ void votes_kernel(unsigned* y) {
  const unsigned t = threadIdx.x;
  const unsigned ballot = __ballot_sync(all, t < 20);
  const int any = __any_sync(all, t == 31), none = __any_sync(all, t > 31);
  const int every = __all_sync(all, t < 32), not_every = __all_sync(all, t < 31);
  if (t == 0) y[0] = ballot;
  if (t == 1) y[1] = unsigned(any) | unsigned(none) << 1 | unsigned(every) << 2 | unsigned(not_every) << 3;
}

__global__ void partial_masks_kernel(float* y) {
  const int t = int(threadIdx.x);
  if (t < 8) return;
  float value = float(t);
  if (t < 16) {
    value = __shfl_xor_sync(0x0000ff00u, value, 7);
    __syncwarp(0x0000ff00u);
  } else {
    for (int step = 8; step > 0; step /= 2) value += __shfl_xor_sync(0xffff0000u, value, step);
  }
  __syncwarp();  // a full mask where lanes have exited
  y[t] = value;
}

__global__ void places_kernel(unsigned* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  unsigned* mine = y + 4 * (std::size_t(block) * threads + simt::linear_thread());
  mine[0] = threadIdx.x + 100 * threadIdx.y + 10000 * threadIdx.z;
  mine[1] = simt::warp();
  mine[2] = simt::lane();
  mine[3] = blockIdx.x + 100 * blockIdx.y + 10000 * blockIdx.z;
}

__global__ void cluster_sum_kernel(const float* x, float* y) {
  SIMT_SHARED(float, part, [32]);
  part[threadIdx.x] = x[blockIdx.x * 32 + threadIdx.x];
  simt::cluster_sync();
  float sum = 0;
  for (unsigned rank = 0; rank < simt::cluster_size(); ++rank) {
    sum += *simt::map_shared_rank(&part[threadIdx.x], rank);
  }
  simt::cluster_sync();
  y[blockIdx.x * 32 + threadIdx.x] = sum;
}

__global__ void atomics_kernel(unsigned* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&y[0], i);
  atomicMin(&y[1], i);
  atomicMax(&y[2], i);
  unsigned seen = 0, expected;
  do {
    expected = seen;
    seen = atomicCAS(&y[3], expected, expected + 1);
  } while (seen != expected);
}

__device__ float twice(float value) {
  SIMT_SHARED(float, slot, [64]);
  slot[threadIdx.x] = value;
  __syncthreads();
  const float other = slot[63 - threadIdx.x];
  __syncthreads();
  return other;
}
__global__ void statics_kernel(float* y) {
  SIMT_SHARED(float, own, );
  if (threadIdx.x == 0) own = float(blockIdx.x);
  const float value = twice(float(threadIdx.x)) + twice(100.0f);
  y[blockIdx.x * 64 + threadIdx.x] = value + own;
}

__global__ void order_kernel(unsigned* y, unsigned* next) {
  __syncthreads();
  y[threadIdx.x] = atomicAdd(next, 1u);
}

__global__ void named_kernel(float* y) {
  SIMT_SHARED(float, tile, [64]);
  const unsigned t = threadIdx.x;
  const int both = int((blockDim.x + 31) / 32 * 32);
  if (t < 32) {
    for (unsigned i = t; i < blockDim.x; i += 32) tile[i] = float(i);
    simt::named_barrier(1, both);
    simt::named_barrier(2, both);
    y[t] = tile[t];
  } else {
    simt::named_barrier(1, both);
    y[t] = tile[t] + tile[0];
    simt::named_barrier(2, both);
  }
}

__global__ void barriers_kernel(int rounds) {
  for (int i = 0; i < rounds; ++i) __syncthreads();
}
__global__ void syncwarps_kernel(int rounds) {
  for (int i = 0; i < rounds; ++i) __syncwarp();
}

__global__ void neighbours_kernel(unsigned char* bytes, simt::bf16* halves) {
  struct Smem {
    unsigned char bytes[64];
    simt::bf16 halves[64];
  };
  auto& s = simt::shared<Smem>();
  const unsigned t = threadIdx.x;
  s.bytes[t] = static_cast<unsigned char>(t);
  s.halves[t] = simt::bf16(float(t));
  __syncthreads();
  bytes[t] = s.bytes[63 - t];
  halves[t] = s.halves[63 - t];
}

__global__ void nested_kernel() { simt::launch("inner", barriers_kernel, {}, 1); }

__global__ void fails_kernel() {
  struct Smem {
    float at[64];
  };
  if (threadIdx.x == 3) simt::shared<Smem>().at[0] = 1;
}

// Writes at the ends of large static variables, or copies out what stands there (as a copy by the executor would:
// the checker calls it uninitialised).
__global__ void large_static_kernel(bool write, float* y) {
  SIMT_SHARED(float, first, [2000]);
  SIMT_SHARED(float, second, [10000]);
  if (write) first[1999] = second[0] = second[9999] = 1;
  y[0] = first[1999];
  y[1] = second[0];
  y[2] = second[9999];
}

__global__ void wrong_width_kernel(float* y) {
  y[threadIdx.x] = __shfl_down_sync(all, float(threadIdx.x), 1, 3);
}

}  // namespace

void reverse(const simt::Launch& shape, const float* x, float* y) {
  simt::launch("reverse", reverse_kernel, shape, x, y);
}
void shuffles(float* y) { simt::launch("shuffles", shuffles_kernel, {.block = 32}, y); }
void votes(unsigned* y) { simt::launch("votes", votes_kernel, {.block = 32}, y); }
void partial_masks(float* y) { simt::launch("partial_masks", partial_masks_kernel, {.block = 32}, y); }
void places(const simt::Launch& shape, unsigned* y) { simt::launch("places", places_kernel, shape, y); }
void cluster_sum(unsigned clusters, unsigned size, const float* x, float* y) {
  simt::launch("cluster_sum", cluster_sum_kernel, {.grid = clusters * size, .block = 32, .cluster = size}, x,
               y);
}
void atomics(const simt::Launch& shape, unsigned* y) { simt::launch("atomics", atomics_kernel, shape, y); }
void statics(unsigned grid, float* y) {
  simt::launch("statics", statics_kernel, {.grid = grid, .block = 64}, y);
}
void order(unsigned* y, unsigned* next) { simt::launch("order", order_kernel, {.block = 64}, y, next); }
void named(unsigned threads, float* y) { simt::launch("named", named_kernel, {.block = threads}, y); }
void barriers(unsigned threads, int rounds) {
  simt::launch("barriers", barriers_kernel, {.block = threads}, rounds);
}
void syncwarps(int rounds) { simt::launch("syncwarps", syncwarps_kernel, {.block = 32}, rounds); }
void neighbours(unsigned char* bytes, simt::bf16* halves) {
  simt::launch("neighbours", neighbours_kernel, {.block = 64, .shared_bytes = 192}, bytes, halves);
}
void nested() { simt::launch("nested", nested_kernel, {}); }
void fails() { simt::launch("fails", fails_kernel, {.block = 64, .shared_bytes = 128}); }
void large_static(bool write, float* y) {
  simt::launch("large_static", large_static_kernel, {.block = 1}, write, y);
}
void wrong_width(float* y) { simt::launch("wrong_width", wrong_width_kernel, {.block = 32}, y); }

}  // namespace simt_tests

#endif
