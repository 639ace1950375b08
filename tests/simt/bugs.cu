// Kernels with one planted mistake each, and their right twins: kernel<false> has it, kernel<true> does not.
// For the host executor only: no device should run them.
#include "simt/world.hpp"

#if defined(SIMT_HOST)

#include "simt/bugs.hpp"
#include "simt/simt.hpp"

// The mistakes that the compiler sees as well.
#pragma GCC diagnostic ignored "-Warray-bounds"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Winfinite-recursion"

namespace simt_bugs {
namespace {

struct Smem {
  alignas(16) float a[64];
  alignas(16) float b[64];
};
struct Small {
  alignas(16) float a[64];
};
struct Counter {
  unsigned value;
};

// ---- barriers

template <bool fixed>
__global__ void missing_barrier(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if constexpr (fixed) __syncthreads();
  y[t] = s.a[n - 1 - t];
}

template <bool fixed>
__global__ void missing_barrier_neighbour(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if constexpr (fixed) __syncthreads();
  y[t] = t > 0 ? s.a[t - 1] : 0.0f;
}

template <bool fixed>
__global__ void buffer_reused(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  float sum = 0;
  for (int k = 0; k < 3; ++k) {
    s.a[t] = x[t] * float(k);
    __syncthreads();
    sum += s.a[(t + 33) % n];
    if constexpr (fixed) __syncthreads();
  }
  y[t] = sum;
}

template <bool fixed>
__global__ void wrong_buffer_of_two(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  float* const buffers[2] = {s.a, s.b};
  buffers[0][t] = x[t];
  __syncthreads();
  float sum = 0;
  for (int k = 0; k < 3; ++k) {
    buffers[fixed ? (k + 1) % 2 : k % 2][t] = x[t] * float(k + 2);
    sum += buffers[k % 2][(t + 1) % n];
    __syncthreads();
  }
  y[t] = sum;
}

template <bool fixed>
__global__ void missing_syncwarp(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if constexpr (fixed) __syncwarp();
  y[t] = t % 32 > 0 ? s.a[t - 1] : 0.0f;
}

template <bool fixed>
__global__ void warp_synchronous(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  volatile float* sums = s.a;
  sums[t] = x[t];
  __syncthreads();
  if (t < 32) {
    for (int step = 32; step > 0; step /= 2) {
      const float other = sums[t + step];
      if constexpr (fixed) __syncwarp();
      sums[t] = sums[t] + other;
      if constexpr (fixed) __syncwarp();
    }
  }
  __syncthreads();
  y[t] = sums[0];
}

template <bool fixed>
__global__ void syncwarp_for_block(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  if (t < 32) s.a[t] = x[t];
  if constexpr (fixed) {
    __syncthreads();
  } else {
    __syncwarp();
  }
  y[t] = t < 32 ? 0.0f : s.a[t - 32];
}

template <bool fixed>
__global__ void partial_syncwarp(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x), lane = t % 32;
  s.a[t] = x[t];
  __syncwarp(fixed ? 0xffffffffu : lane < 16 ? 0x0000ffffu : 0xffff0000u);
  y[t] = lane < 16 ? 0.0f : s.a[t - 16];
}

template <bool fixed>
__global__ void return_before_barrier(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  const bool inside = t < n - 4;
  if (!fixed && !inside) return;
  s.a[t] = x[t];
  __syncthreads();
  if (inside) y[t] = s.a[n - 5 - t];
}

template <bool fixed>
__global__ void divergent_barrier(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if constexpr (fixed) {
    __syncthreads();
  } else if (t < 32) {
    s.a[t] += 0.0f;
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[t] = s.a[n - 1 - t];
}

template <bool fixed>
__global__ void barrier_in_branch(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if (fixed || t % 2 == 0) __syncthreads();
  __syncwarp();
  y[t] = s.a[n - 1 - t];
}

template <bool fixed>
__global__ void named_barrier_count(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if (t < 32) {
    simt::named_barrier(1, fixed ? 32 : 64);
    y[t] = s.a[31 - t];
  } else {
    y[t] = 0;
  }
}

template <bool fixed>
__global__ void named_barrier_other(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  simt::named_barrier(fixed ? 1 : 1 + t / 32, fixed ? 64 : 32);
  y[t] = t < 32 ? 0.0f : s.a[t - 32];
}

// ---- warps

template <bool fixed>
__global__ void lane_not_in_mask(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  y[t] = __shfl_xor_sync(fixed ? 0xffffffffu : 0x0000ffffu, x[t], 1);
}

template <bool fixed>
__global__ void source_lane_inactive(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  float value = 0;
  if (fixed || t % 32 < 16) value = __shfl_xor_sync(fixed ? 0xffffffffu : 0x0000ffffu, x[t], 16);
  y[t] = t % 32 < 16 ? value : 0.0f;
}

template <bool fixed>
__global__ void shuffle_in_branch(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  float value = 0;
  if (fixed || t % 32 < 31) value = __shfl_down_sync(0xffffffffu, x[t], 1);
  __syncthreads();
  y[t] = t % 32 < 31 ? value : 0.0f;
}

template <bool fixed>
__global__ void sum_of_partial_warp(const float* x, float* y, int n) {  // of 48 threads
  const int t = int(threadIdx.x);
  float value = x[t];
  const int lanes = fixed && t >= 32 ? 16 : 32;
  const unsigned mask = lanes == 16 ? 0xffffu : 0xffffffffu;
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(mask, value, step);
  y[t] = value;
}

// ---- asynchronous copies

__device__ void start_copy(float* to, const float* from, int t) {
  if (t < 16) simt::cp_async<16>(to + 4 * t, from + 4 * t);
  simt::cp_async_commit();
}

template <bool fixed>
__global__ void copy_not_awaited(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  start_copy(s.a, x, t);
  if constexpr (fixed) simt::cp_async_wait<0>();
  __syncthreads();
  y[t] = s.a[n - 1 - t];
  simt::cp_async_wait<0>();
}

template <bool fixed>
__global__ void copy_wait_count(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  start_copy(s.a, x, t);
  start_copy(s.b, x, t);
  simt::cp_async_wait<fixed ? 0 : 1>();
  __syncthreads();
  y[t] = s.a[n - 1 - t] + s.b[t];
  simt::cp_async_wait<0>();
}

template <bool fixed>
__global__ void copy_without_barrier(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  start_copy(s.a, x, t);
  simt::cp_async_wait<0>();
  if constexpr (fixed) __syncthreads();
  y[t] = s.a[t];
}

template <bool fixed>
__global__ void copy_into_buffer_in_use(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  __syncthreads();
  const float first = s.a[n - 1 - t];
  if constexpr (fixed) __syncthreads();
  start_copy(s.a, x, t);
  simt::cp_async_wait<0>();
  __syncthreads();
  y[t] = first + s.a[t];
}

template <bool fixed>
__global__ void write_under_copy(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  if constexpr (fixed) {
    start_copy(s.a, x, t);
    simt::cp_async_wait<0>();
    __syncthreads();
    s.a[t] = 1;
  } else {
    start_copy(s.a, x, t);
    __syncthreads();
    s.a[t] = 1;
    simt::cp_async_wait<0>();
  }
  __syncthreads();
  y[t] = s.a[n - 1 - t];
}

template <bool fixed>
__global__ void exit_with_copy(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  y[t] = x[t];
  start_copy(s.a, x, t);
  if constexpr (fixed) simt::cp_async_wait<0>();
}

// ---- mbarriers

struct Staged {
  alignas(128) float tile[64];
  simt::Mbarrier full;
};

__device__ void prepare(Staged& s, int t) {
  if (t == 0) {
    simt::mbarrier_init(&s.full, 1);
    simt::fence_mbarrier_init();
  }
  __syncthreads();
}

__device__ void load(Staged& s, const float* x, unsigned expected) {
  simt::mbarrier_arrive_expect_tx(&s.full, expected);
  simt::bulk_load(s.tile, x, sizeof s.tile, &s.full);
}

template <bool fixed>
__global__ void mbarrier_not_awaited(const float* x, float* y, int n) {
  auto& s = simt::shared<Staged>();
  const int t = int(threadIdx.x);
  prepare(s, t);
  if (t == 0) load(s, x, sizeof s.tile);
  if constexpr (fixed) simt::mbarrier_wait(&s.full, 0);
  y[t] = s.tile[n - 1 - t];
  simt::mbarrier_wait(&s.full, 0);
}

template <bool fixed>
__global__ void mbarrier_parity(const float* x, float* y, int n) {
  auto& s = simt::shared<Staged>();
  const int t = int(threadIdx.x);
  prepare(s, t);
  float sum = 0;
  for (int i = 0; i < 2; ++i) {
    if (t == 0) load(s, x, sizeof s.tile);
    simt::mbarrier_wait(&s.full, fixed ? unsigned(i % 2) : 0u);
    sum += s.tile[n - 1 - t];
    __syncthreads();
  }
  y[t] = sum;
}

template <bool fixed>
__global__ void mbarrier_bytes(const float* x, float* y, int n) {
  auto& s = simt::shared<Staged>();
  const int t = int(threadIdx.x);
  prepare(s, t);
  if (t == 0) load(s, x, fixed ? sizeof s.tile : 2 * sizeof s.tile);
  simt::mbarrier_wait(&s.full, 0);
  y[t] = s.tile[n - 1 - t];
}

// ---- bounds

template <bool fixed>
__global__ void next_member(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.b[t] = x[t];
  __syncthreads();
  s.a[fixed ? t : t + 1] = 7;
  __syncthreads();
  y[t] = s.b[t];
}

template <bool fixed>
__global__ void past_dynamic(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  float* end = s.b;
  end[fixed ? t : t + 1] = x[t];
  __syncthreads();
  y[t] = x[t];
}

template <bool fixed>
__global__ void before_dynamic(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  float* begin = s.a;
  begin[fixed ? t : t - 1] = x[t];
  y[t] = x[t];
}

template <bool fixed>
__global__ void launch_too_small(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  if constexpr (fixed) {
    simt::shared<Small>().a[t] = x[t];
  } else {
    simt::shared<Smem>().a[t] = x[t];
  }
  y[t] = x[t];
}

template <bool fixed>
__global__ void past_static(const float* x, float* y, int n) {
  SIMT_SHARED(float, part, [64]);
  const int t = int(threadIdx.x);
  float* parts = part;
  parts[fixed ? t : t + 1] = x[t];
  __syncthreads();
  y[t] = x[t];
}

template <bool fixed>
__global__ void static_too_large(const float* x, float* y, int n) {
  SIMT_SHARED(float, table, [fixed ? 12 << 10 : 13 << 10]);
  const int t = int(threadIdx.x);
  table[t] = x[t];
  y[t] = table[t];
}

template <bool fixed>
__global__ void tail_off_by_one(const float* x, float* y, int n) {
  for (int i = int(threadIdx.x); fixed ? i < n : i <= n; i += 64) y[i] = 2;
}

template <bool fixed>
__global__ void read_past_end(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  const float next = !fixed || t + 1 < n ? x[t + 1] : 0.0f;
  y[t] = t + 1 < n ? x[t] + next : x[t];
}

template <bool fixed>
__global__ void misaligned_vector(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  const auto four = simt::load<4>(x + (fixed ? 4 : 1));
  y[t] = fixed ? four[t % 4] - 3.0f : four[t % 4];
}

template <bool fixed>
__device__ float descend(float value, int depth) {
  volatile float local[512];
  local[depth % 512] = value;
  if (depth == 0) return local[0];
  return descend<fixed>(local[depth % 512], depth - 1) + local[depth % 512] * 0.0f;
}
template <bool fixed>
__global__ void stack_overflow(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  y[t] = descend<fixed>(x[t], fixed ? 3 : 16 * n);
}

// ---- values that nobody wrote

template <bool fixed>
__global__ void uninitialised_shared(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  if (fixed || t < n - 1) s.a[t] = x[t];
  __syncthreads();
  y[t] = s.a[n - 1 - t];
}

template <bool fixed>
__global__ void uninitialised_global(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  if constexpr (fixed) y[t] = 0;
  y[t] += x[t];
}

template <bool fixed>
__global__ void uninitialised_local(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  float sums[4];
  for (int i = 0; i < (fixed ? 4 : n / 32); ++i) sums[i] = x[t];
  float sum = 0;
  for (int i = 0; i < n / 16; ++i) sum += sums[i];
  y[t] = sum;
}

template <bool fixed>
__global__ void padding_row(const float* x, float* y, int n) {  // a stencil whose border nobody fills
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  s.a[t] = x[t];
  if (fixed && t == 0) s.b[0] = 0;
  __syncthreads();
  const float* row = s.a;
  y[t] = row[t] + row[t + 1] * 0.5f;
}

// ---- several writers

template <bool fixed>
__global__ void missing_atomic(const float* x, float* y, int n) {
  auto& s = simt::shared<Counter>();
  const int t = int(threadIdx.x);
  if (t == 0) s.value = 0;
  __syncthreads();
  if constexpr (fixed) {
    atomicAdd(&s.value, 1u);
  } else {
    s.value += 1;
  }
  __syncthreads();
  y[t] = float(s.value);
}

template <bool fixed>
__global__ void atomic_and_plain(const float* x, float* y, int n) {
  auto& s = simt::shared<Counter>();
  const int t = int(threadIdx.x);
  if (t == 0) s.value = 0;
  __syncthreads();
  atomicAdd(&s.value, 1u);
  if constexpr (fixed) __syncthreads();
  if (t == n - 1) y[0] = float(s.value);
  if (t > 0) y[t] = 0;
}

template <bool fixed>
__global__ void same_value(const float* x, float* y, int n) {
  auto& s = simt::shared<Smem>();
  const int t = int(threadIdx.x);
  if (!fixed || t == 0) s.a[0] = x[0];
  __syncthreads();
  y[t] = s.a[0];
}

template <bool fixed>
__global__ void scratch_in_global(const float* x, float* y, int n) {
  const int t = int(threadIdx.x);
  y[t] = x[t];
  if constexpr (fixed) __syncthreads();
  const float left = t > 0 ? y[t - 1] : 0.0f;
  if constexpr (fixed) __syncthreads();
  y[t] = left;
}

template <bool fixed>
__global__ void blocks_overlap(const float* x, float* y, int n) {  // 4 blocks
  const int t = int(threadIdx.x);
  if constexpr (fixed) {
    atomicExch(&y[t], x[t]);
  } else {
    y[t] = x[t];
  }
}

template <bool fixed>
__global__ void accumulate_over_blocks(const float* x, float* y, int n) {  // 2 blocks
  const int t = int(threadIdx.x), i = int(blockIdx.x) * 32 + t;
  if constexpr (fixed) {
    y[i] = 2.0f * x[i];
  } else {
    if (blockIdx.x == 0) y[t] = 2.0f * x[t];
    if (blockIdx.x == 0) y[t + 32] = x[t + 32];
    if (blockIdx.x == 1) y[i] += x[i];
  }
}

// ---- clusters

template <bool fixed>
__global__ void missing_cluster_sync(const float* x, float* y, int n) {  // 2 ranks of 32 threads
  SIMT_SHARED(float, part, [32]);
  const int t = int(threadIdx.x), i = int(blockIdx.x) * 32 + t;
  part[t] = x[i];
  if constexpr (fixed) simt::cluster_sync();
  y[i] = simt::cluster_rank() == 0 ? 0.0f : *simt::map_shared_rank(&part[t], 0);
  simt::cluster_sync();
}

template <bool fixed>
__global__ void exit_before_read(const float* x, float* y, int n) {
  SIMT_SHARED(float, part, [32]);
  const int t = int(threadIdx.x), i = int(blockIdx.x) * 32 + t;
  part[t] = x[i];
  simt::cluster_sync();
  const unsigned other = 1 - simt::cluster_rank();
  const float theirs = *simt::map_shared_rank(&part[t], other);
  if constexpr (fixed) simt::cluster_sync();
  y[i] = theirs;
}

template <bool fixed>
__global__ void exit_while_others_read(const float* x, float* y, int n) {
  SIMT_SHARED(float, part, [32]);
  const int t = int(threadIdx.x), i = int(blockIdx.x) * 32 + t;
  const float* theirs = simt::map_shared_rank(&part[t], 1 - simt::cluster_rank());
  part[t] = x[i];
  simt::cluster_sync();
  y[i] = *theirs;
  if constexpr (fixed) simt::cluster_sync();
}

template <bool fixed>
__global__ void rank_out_of_range(const float* x, float* y, int n) {
  SIMT_SHARED(float, part, [32]);
  const int t = int(threadIdx.x), i = int(blockIdx.x) * 32 + t;
  part[t] = x[i];
  simt::cluster_sync();
  y[i] = *simt::map_shared_rank(&part[t], fixed ? (simt::cluster_rank() + 1) % 2 : simt::cluster_rank() + 1);
  simt::cluster_sync();
}

// ---- the list

simt::Launch shape(unsigned grid, unsigned block, std::size_t shared, unsigned cluster = 1) {
  return {.grid = grid, .block = block, .shared_bytes = shared, .cluster = cluster};
}

float same(int i) { return float(i + 1); }
float reversed(int i) { return float(count - i); }
float shifted(int i) { return float(i); }
float swapped_halves(int i) { return float((i + 32) % 64 + 1); }

#define BUG(name, mistake, launch_shape, expected, forward, random, asan, check)                                  \
  Bug {                                                                                                           \
#name, mistake,                                                                                               \
        [](bool fixed, const float* x,                                                                            \
           float*                                                                                                 \
               y) { simt::launch(#name, fixed ? &name<true> : &name<false>, launch_shape, x, y, count); },        \
                                                                                                        expected, \
                                                                                                        forward,  \
                                                                                                        random,   \
                                                                                                        asan,     \
                                                                                                        check     \
  }

}  // namespace

const std::vector<Bug>& bugs() {
  static const std::vector<Bug> list = {
#include "simt/bugs.inc"
  };
  return list;
}

}  // namespace simt_bugs

#endif
