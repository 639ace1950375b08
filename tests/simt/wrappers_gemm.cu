// Matrix products as kernels use the wrappers together: cp.async, ldmatrix and mma.sync; TMA, mbarriers and wgmma.
#include "simt/simt.hpp"
#include "wrappers.hpp"

namespace fovea::simt_tests::SIMT_WORLD {
namespace {

using simt::Mbarrier;
using simt::TensorMap;

// ---- bf16, mma.sync: a tile of 64 x 64, 16 of k at a time, four warps of 32 x 32, two stages

struct Bf16Shared {
  bf16 a[2][64][24];  // rows of 48 and 144 bytes: ldmatrix without bank conflicts
  bf16 b[2][16][72];
};

__global__ void __launch_bounds__(128) bf16_kernel(const bf16* a, const bf16* b, float* c, int n, int k) {
  auto& s = simt::shared<Bf16Shared>();
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
  const int row0 = blockIdx.y * 64, column0 = blockIdx.x * 64;
  const auto fetch = [&](int stage, int k0) {
    const int ar = thread / 2, ac = thread % 2 * 8, br = thread / 8, bc = thread % 8 * 8;
    simt::cp_async<16>(&s.a[stage][ar][ac], &a[(row0 + ar) * k + k0 + ac]);
    simt::cp_async<16>(&s.b[stage][br][bc], &b[(k0 + br) * n + column0 + bc]);
    simt::cp_async_commit();
  };
  float sum[2][4][4] = {};
  fetch(0, 0);
  for (int k0 = 0, stage = 0; k0 < k; k0 += 16, stage ^= 1) {
    if (k0 + 16 < k) {
      fetch(stage ^ 1, k0 + 16);
      simt::cp_async_wait<1>();
    } else {
      simt::cp_async_wait<0>();
    }
    __syncthreads();
    std::uint32_t left[2][4], right[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      simt::ldmatrix_x4(left[i], &s.a[stage][warp_row + i * 16 + lane % 16][lane / 16 * 8]);
      simt::ldmatrix_x4_trans(right[i], &s.b[stage][lane % 16][warp_column + i * 16 + lane / 16 * 8]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        simt::mma_bf16_m16n8k16(sum[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
      }
    }
    __syncthreads();
  }
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float* to = &c[(row0 + warp_row + i * 16 + g) * n + column0 + warp_column + j * 8 + 2 * t];
      simt::store(to, simt::Vec<float, 2>{sum[i][j][0], sum[i][j][1]});
      simt::store(to + 8 * n, simt::Vec<float, 2>{sum[i][j][2], sum[i][j][3]});
    }
  }
}

std::vector<float> run_bf16(int m, int n, int k, const std::vector<bf16>& a, const std::vector<bf16>& b) {
  simt::DeviceArray<bf16> left(a), right(b);
  simt::DeviceArray<float> c(static_cast<std::size_t>(m * n));
  const simt::Launch launch{.grid = dim3(n / 64, m / 64), .block = 128, .shared_bytes = sizeof(Bf16Shared)};
  simt::launch("gemm_bf16", &bf16_kernel, launch, left.data(), right.data(), c.data(), n, k);
  return c.to_host();
}

// ---- tf32, mma.sync: a tile of 32 x 32 and 8 of k at a time, with edges: rows and columns that do not exist are
// copied as zeros and not stored

struct Tf32Shared {
  float a[32][12];
  float b[8][40];
};

__global__ void __launch_bounds__(128)
    tf32_kernel(const float* a, const float* b, float* c, int m, int n, int k) {
  auto& s = simt::shared<Tf32Shared>();
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int g = lane / 4, t = lane % 4, warp_row = warp / 2 * 16, warp_column = warp % 2 * 16;
  const int row0 = blockIdx.y * 32, column0 = blockIdx.x * 32;
  float sum[2][4] = {};
  for (int k0 = 0; k0 < k; k0 += 8) {
    for (int i = thread; i < 256; i += 128) {
      const int ar = i / 8, ac = i % 8, br = i / 32, bc = i % 32;
      const bool has_a = row0 + ar < m && k0 + ac < k, has_b = k0 + br < k && column0 + bc < n;
      simt::cp_async<4>(&s.a[ar][ac], has_a ? &a[(row0 + ar) * k + k0 + ac] : a, has_a ? 4 : 0);
      simt::cp_async<4>(&s.b[br][bc], has_b ? &b[(k0 + br) * n + column0 + bc] : b, has_b ? 4 : 0);
    }
    simt::cp_async_commit();
    simt::cp_async_wait<0>();
    __syncthreads();
    const std::uint32_t left[4] = {
        simt::to_tf32(s.a[warp_row + g][t]), simt::to_tf32(s.a[warp_row + g + 8][t]),
        simt::to_tf32(s.a[warp_row + g][t + 4]), simt::to_tf32(s.a[warp_row + g + 8][t + 4])};
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int column = warp_column + j * 8 + g;
      simt::mma_tf32_m16n8k8(sum[j], left, simt::to_tf32(s.b[t][column]), simt::to_tf32(s.b[t + 4][column]));
    }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = row0 + warp_row + g + i / 2 * 8, column = column0 + warp_column + j * 8 + 2 * t + i % 2;
      if (row < m && column < n) c[row * n + column] = sum[j][i];
    }
  }
}

std::vector<float> run_tf32(int m, int n, int k, const std::vector<float>& a, const std::vector<float>& b) {
  simt::DeviceArray<float> left(a), right(b), c(static_cast<std::size_t>(m * n));
  const simt::Launch launch{
      .grid = dim3((n + 31) / 32, (m + 31) / 32), .block = 128, .shared_bytes = sizeof(Tf32Shared)};
  simt::launch("gemm_tf32", &tf32_kernel, launch, left.data(), right.data(), c.data(), m, n, k);
  return c.to_host();
}

// ---- bf16, wgmma: a tile of 128 x 128, 64 of k at a time, two warpgroups that multiply and a warp that feeds
// them through three stages; the result goes out by TMA, which leaves out what is outside of c

constexpr int stages = 3, tile_k = 64;

struct WgmmaGemmShared {
  alignas(1024) bf16 a[stages][128 * tile_k];
  alignas(1024) bf16 b[stages][128 * tile_k];
  alignas(1024) float c[2][64 * 128];
  Mbarrier full[stages], empty[stages];
};

__device__ void feed(WgmmaGemmShared& s, const TensorMap* a, const TensorMap* b, int row0, int column0,
                     int steps) {
  for (int i = 0; i < steps; ++i) {
    const int stage = i % stages;
    if (i >= stages) simt::mbarrier_wait(&s.empty[stage], (i / stages - 1) % 2);
    simt::mbarrier_arrive_expect_tx(&s.full[stage], sizeof s.a[0] + sizeof s.b[0]);
    simt::tma_load<2>(s.a[stage], a, &s.full[stage], {i * tile_k, row0});
    simt::tma_load<2>(s.b[stage], b, &s.full[stage], {i * tile_k, column0});
  }
}

// One product stays under way while the next is issued; the stage before it is given back.
__device__ void multiply(WgmmaGemmShared& s, float (&sum)[64], int group, int steps) {
  for (int i = 0; i < steps; ++i) {
    const int stage = i % stages;
    simt::mbarrier_wait(&s.full[stage], i / stages % 2);
    simt::wgmma_fence(sum);
#pragma unroll
    for (int k = 0; k < tile_k; k += 16) {
      simt::wgmma_bf16(sum, simt::wgmma_k_major(s.a[stage] + group * 64 * tile_k + k),
                       simt::wgmma_k_major(s.b[stage] + k), i > 0 || k > 0);
    }
    simt::wgmma_commit();
    simt::wgmma_wait<1>(sum);
    if (i > 0 && threadIdx.x % 128 == 0) simt::mbarrier_arrive(&s.empty[(i - 1) % stages]);
  }
  simt::wgmma_wait<0>(sum);
}

__global__ void __launch_bounds__(288)
    wgmma_gemm_kernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                      const __grid_constant__ TensorMap c, int steps) {
  auto& s = simt::shared<WgmmaGemmShared>();
  const int thread = threadIdx.x, row0 = blockIdx.y * 128, column0 = blockIdx.x * 128;
  if (thread == 0) {
    for (int i = 0; i < stages; ++i) {
      simt::mbarrier_init(&s.full[i], 1);
      simt::mbarrier_init(&s.empty[i], 2);
    }
    simt::fence_mbarrier_init();
  }
  __syncthreads();
  if (thread >= 256) {
    if (thread == 256) feed(s, &a, &b, row0, column0, steps);
    return;
  }
  const int group = thread / 128, w = thread % 128 / 32, g = thread % 32 / 4, t = thread % 4;
  float sum[64];
  multiply(s, sum, group, steps);
  for (int i = 0; i < 64; ++i) {
    const int row = 16 * w + g + 8 * (i % 4 / 2), column = 8 * (i / 4) + 2 * t + i % 2;
    s.c[group][row * 128 + column] = sum[i];
  }
  simt::fence_proxy_async();
  simt::named_barrier(1 + group, 128);
  if (thread % 128 == 0) {
    simt::tma_store<2>(&c, {column0, row0 + group * 64}, s.c[group]);
    simt::bulk_commit();
    simt::bulk_wait<0>();
  }
}

std::vector<float> run_wgmma(int m, int n, int k, const std::vector<bf16>& a, const std::vector<bf16>& b) {
  simt::DeviceArray<bf16> left(a), right(b);
  simt::DeviceArray<float> c(static_cast<std::size_t>(m * n));
  const auto swizzle = simt::Swizzle::bytes128;
  const TensorMap left_map = simt::make_tensor_map<bf16>(left.data(), {k, m}, {tile_k, 128}, swizzle);
  const TensorMap right_map = simt::make_tensor_map<bf16>(right.data(), {k, n}, {tile_k, 128}, swizzle);
  const TensorMap c_map = simt::make_tensor_map<float>(c.data(), {n, m}, {128, 64});
  const simt::Launch launch{
      .grid = dim3((n + 127) / 128, (m + 127) / 128), .block = 288, .shared_bytes = sizeof(WgmmaGemmShared)};
  simt::launch("gemm_wgmma", &wgmma_gemm_kernel, launch, left_map, right_map, c_map,
               (k + tile_k - 1) / tile_k);
  return c.to_host();
}

}  // namespace

GemmRunners gemm_runners() { return {&run_bf16, &run_tf32, &run_wgmma}; }

}  // namespace fovea::simt_tests::SIMT_WORLD
