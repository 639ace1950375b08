// Kernels that use the sm_90 wrappers one at a time: mbarriers, TMA, bulk copies, wgmma.
#include <utility>

#include "simt/simt.hpp"
#include "wrappers.hpp"

namespace fovea::simt_tests::SIMT_WORLD {
namespace {

using simt::Mbarrier;
using simt::Swizzle;
using simt::TensorMap;

// ---- mbarriers

// Each phase every thread writes its slot and arrives; after the wait it reads its neighbour's.
template <bool polling>
__global__ void mbarrier_phases_kernel(int phases, int* to) {
  SIMT_SHARED(int, slot, [2][64]);
  SIMT_SHARED(Mbarrier, barrier, [1]);
  const int i = threadIdx.x;
  if (i == 0) {
    simt::mbarrier_init(&barrier[0], 64);
    simt::fence_mbarrier_init();
  }
  __syncthreads();
  for (int phase = 0; phase < phases; ++phase) {
    slot[phase % 2][i] = 1000 * phase + i;
    simt::mbarrier_arrive(&barrier[0]);
    if constexpr (polling) {
      while (!simt::mbarrier_test(&barrier[0], phase % 2)) {
      }
    } else {
      simt::mbarrier_wait(&barrier[0], phase % 2);
    }
    to[phase * 64 + i] = slot[phase % 2][(i + 33) % 64];
  }
  __syncthreads();
  if (i == 0) {  // once more, with another count
    simt::mbarrier_invalidate(&barrier[0]);
    simt::mbarrier_init(&barrier[0], 1);
    simt::mbarrier_arrive(&barrier[0]);
    simt::mbarrier_wait(&barrier[0], 0);
  }
}

std::vector<int> run_mbarrier_phases(int phases, bool polling) {
  simt::DeviceArray<int> to(static_cast<std::size_t>(phases * 64));
  simt::launch("mbarrier_phases", polling ? &mbarrier_phases_kernel<true> : &mbarrier_phases_kernel<false>,
               {.block = 64}, phases, to.data());
  return to.to_host();
}

struct RemoteShared {
  int slot[32];
  Mbarrier full, empty;
};

// Block 1 writes into block 0's shared memory and arrives there; block 0 reads, and gives the slot back.
__global__ void mbarrier_remote_kernel(int phases, int* to) {
  auto& s = simt::shared<RemoteShared>();
  const int lane = threadIdx.x;
  if (lane == 0) {
    simt::mbarrier_init(&s.full, 32);
    simt::mbarrier_init(&s.empty, 32);
    simt::fence_mbarrier_init();
  }
  simt::cluster_sync();
  if (simt::cluster_rank() == 1) {
    int* theirs = simt::map_shared_rank(s.slot, 0);
    for (int i = 0; i < phases; ++i) {
      if (i > 0) simt::mbarrier_wait_cluster(&s.empty, (i - 1) % 2);
      theirs[lane] = 10 * i + lane;
      simt::mbarrier_arrive_remote(&s.full, 0);
    }
  } else {
    for (int i = 0; i < phases; ++i) {
      simt::mbarrier_wait_cluster(&s.full, i % 2);
      to[i * 32 + lane] = s.slot[31 - lane];
      simt::mbarrier_arrive_remote(&s.empty, 1);
    }
  }
  simt::cluster_sync();
}

std::vector<int> run_mbarrier_remote(int phases) {
  simt::DeviceArray<int> to(static_cast<std::size_t>(phases * 32));
  simt::launch("mbarrier_remote", &mbarrier_remote_kernel,
               {.grid = 2, .block = 32, .shared_bytes = sizeof(RemoteShared), .cluster = 2}, phases,
               to.data());
  return to.to_host();
}

// ---- TMA tiles

struct Coordinates {
  int at[5];
};

constexpr int tile_limit = 32 << 10;
struct TileShared {
  alignas(1024) unsigned char tile[tile_limit];
  Mbarrier full;
};

template <int rank>
__global__ void tma_load_kernel(const __grid_constant__ TensorMap map, Coordinates c, int bytes,
                                unsigned char* to) {
  auto& s = simt::shared<TileShared>();
  if (threadIdx.x == 0) {
    simt::tma_prefetch(&map);
    simt::mbarrier_init(&s.full, 1);
    simt::fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int at[rank];
    for (int i = 0; i < rank; ++i) at[i] = c.at[i];
    simt::mbarrier_expect_tx(&s.full, bytes);
    simt::tma_load<rank>(s.tile, &map, &s.full, at);
    simt::mbarrier_arrive(&s.full);
  }
  simt::mbarrier_wait(&s.full, 0);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) to[i] = s.tile[i];
}

template <int rank, bool wait_for_read_only>
__global__ void tma_store_kernel(const __grid_constant__ TensorMap map, Coordinates c, int bytes,
                                 const unsigned char* from) {
  auto& s = simt::shared<TileShared>();
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) s.tile[i] = from[i];
  simt::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    int at[rank];
    for (int i = 0; i < rank; ++i) at[i] = c.at[i];
    simt::tma_store<rank>(&map, at, s.tile);
    simt::bulk_commit();
    if constexpr (wait_for_read_only) {
      simt::bulk_wait_read<0>();
    } else {
      simt::bulk_wait<0>();
    }
  }
  __syncthreads();
  s.tile[threadIdx.x] = 0;  // the source may be overwritten now
}

simt::Sizes sizes(const std::vector<int>& list) {
  simt::Sizes result;
  result.count = static_cast<int>(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) result.at[i] = static_cast<std::uint64_t>(list[i]);
  return result;
}

template <class T>
TensorMap typed_map(const TileCase& tile, const void* data) {
  simt::Sizes strides;
  strides.count = static_cast<int>(tile.extents.size()) - 1;
  std::uint64_t stride = static_cast<std::uint64_t>(tile.extents[0]) * sizeof(T) + tile.row_padding;
  for (std::size_t i = 1; i < tile.extents.size(); ++i) {
    strides.at[i - 1] = stride;
    stride *= static_cast<std::uint64_t>(tile.extents[i]);
  }
  return simt::make_tensor_map(static_cast<const T*>(data), sizes(tile.extents), sizes(tile.box),
                               tile.swizzle, strides);
}

TensorMap map_of(const TileCase& tile, const void* data) {
  return tile.element_bytes == 2   ? typed_map<bf16>(tile, data)
         : tile.element_bytes == 4 ? typed_map<float>(tile, data)
                                   : typed_map<double>(tile, data);
}

int tile_bytes(const TileCase& tile) {
  int bytes = tile.element_bytes;
  for (const int side : tile.box) bytes *= side;
  return bytes;
}

Coordinates coordinates(const TileCase& tile) {
  Coordinates c{};
  for (std::size_t i = 0; i < 5; ++i) c.at[i] = tile.at[i];
  return c;
}

constexpr simt::Launch tile_launch() { return {.block = 64, .shared_bytes = sizeof(TileShared)}; }

std::vector<unsigned char> run_tma_load(const TileCase& tile, const std::vector<unsigned char>& tensor) {
  constexpr decltype(&tma_load_kernel<1>) kernels[] = {&tma_load_kernel<1>, &tma_load_kernel<2>,
                                                       &tma_load_kernel<3>, &tma_load_kernel<4>,
                                                       &tma_load_kernel<5>};
  simt::DeviceArray<unsigned char> data(tensor), to(static_cast<std::size_t>(tile_bytes(tile)));
  simt::launch("tma_load", kernels[tile.box.size() - 1], tile_launch(), map_of(tile, data.data()),
               coordinates(tile), tile_bytes(tile), to.data());
  return to.to_host();
}

template <bool read_only>
std::vector<unsigned char> run_store(const TileCase& tile, const std::vector<unsigned char>& shared,
                                     const std::vector<unsigned char>& tensor) {
  constexpr decltype(&tma_store_kernel<1, read_only>) kernels[] = {
      &tma_store_kernel<1, read_only>, &tma_store_kernel<2, read_only>, &tma_store_kernel<3, read_only>,
      &tma_store_kernel<4, read_only>, &tma_store_kernel<5, read_only>};
  simt::DeviceArray<unsigned char> data(tensor), from(shared);
  const unsigned char* source = from.data();
  simt::launch("tma_store", kernels[tile.box.size() - 1], tile_launch(), map_of(tile, data.data()),
               coordinates(tile), tile_bytes(tile), source);
  return data.to_host();
}

std::vector<unsigned char> run_tma_store(const TileCase& tile, const std::vector<unsigned char>& shared,
                                         const std::vector<unsigned char>& tensor, bool wait_for_read_only) {
  return wait_for_read_only ? run_store<true>(tile, shared, tensor) : run_store<false>(tile, shared, tensor);
}

// ---- multicast

struct MulticastShared {
  alignas(128) float tile[16][16];
  Mbarrier full;
};

__global__ void tma_multicast_kernel(const __grid_constant__ TensorMap map, float* to) {
  auto& s = simt::shared<MulticastShared>();
  if (threadIdx.x == 0) {
    simt::mbarrier_init(&s.full, 1);
    simt::fence_mbarrier_init();
    simt::mbarrier_arrive_expect_tx(&s.full, sizeof s.tile);
  }
  simt::cluster_sync();
  // Each block fetches one half for both.
  if (threadIdx.x == 0) {
    const int half = static_cast<int>(simt::cluster_rank()) * 8;
    simt::tma_load_multicast<2>(s.tile[half], &map, &s.full, {0, half}, 3);
  }
  simt::mbarrier_wait_cluster(&s.full, 0);
  for (int i = threadIdx.x; i < 256; i += blockDim.x) to[blockIdx.x * 256 + i] = s.tile[i / 16][i % 16];
  simt::cluster_sync();
}

std::vector<float> run_tma_multicast(const std::vector<float>& tensor) {
  simt::DeviceArray<float> data(tensor), to(std::size_t(512));
  const TensorMap map = simt::make_tensor_map<float>(data.data(), {16, 16}, {16, 8});
  simt::launch("tma_multicast", &tma_multicast_kernel,
               {.grid = 2, .block = 64, .shared_bytes = sizeof(MulticastShared), .cluster = 2}, map,
               to.data());
  return to.to_host();
}

// ---- bulk copies

struct BulkShared {
  alignas(16) float values[2][256];
  Mbarrier full;
};

// In two pieces, doubled on the way, back in two groups.
__global__ void bulk_copy_kernel(const float* from, float* to) {
  auto& s = simt::shared<BulkShared>();
  if (threadIdx.x == 0) {
    simt::mbarrier_init(&s.full, 1);
    simt::fence_mbarrier_init();
    simt::mbarrier_arrive_expect_tx(&s.full, sizeof s.values);
    for (int i = 0; i < 2; ++i) simt::bulk_load(s.values[i], from + 256 * i, sizeof s.values[i], &s.full);
  }
  __syncthreads();
  simt::mbarrier_wait(&s.full, 0);
  for (int i = 0; i < 2; ++i) s.values[i][threadIdx.x] *= 2;
  simt::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      simt::bulk_store(to + 256 * i, s.values[i], sizeof s.values[i]);
      simt::bulk_commit();
    }
    simt::bulk_wait_read<1>();
    simt::bulk_wait<0>();
  }
}

std::vector<float> run_bulk_copy(const std::vector<float>& values) {
  simt::DeviceArray<float> from(values), to(values.size());
  const float* source = from.data();
  simt::launch("bulk_copy", &bulk_copy_kernel, {.block = 256, .shared_bytes = sizeof(BulkShared)}, source,
               to.data());
  return to.to_host();
}

// ---- wgmma

constexpr int depth = 64;

template <int n>
struct WgmmaShared {
  alignas(1024) bf16 a[64 * depth];
  alignas(1024) bf16 b[n * depth];
  Mbarrier full;
};

template <int n, bool a_k_major, bool b_k_major>
__global__ void __launch_bounds__(128)
    wgmma_kernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* to) {
  auto& s = simt::shared<WgmmaShared<n>>();
  const int thread = threadIdx.x;
  if (thread == 0) {
    simt::mbarrier_init(&s.full, 1);
    simt::fence_mbarrier_init();
    simt::mbarrier_arrive_expect_tx(&s.full, sizeof s.a + sizeof s.b);
    simt::tma_load<2>(s.a, &a, &s.full, {0, 0});
    if constexpr (b_k_major) {
      simt::tma_load<2>(s.b, &b, &s.full, {0, 0});
    } else {
      for (int c = 0; c < n; c += 64) simt::tma_load<2>(s.b + c * depth, &b, &s.full, {c, 0});
    }
  }
  __syncthreads();
  simt::mbarrier_wait(&s.full, 0);
  float d[n / 2];
  simt::wgmma_fence(d);
#pragma unroll
  for (int k = 0; k < depth; k += 16) {
    const auto left = [&] {
      if constexpr (a_k_major) return simt::wgmma_k_major(s.a + k);
      if constexpr (!a_k_major) return simt::wgmma_mn_major(s.a + k * 64);
    }();
    const auto right = [&] {
      if constexpr (b_k_major) return simt::wgmma_k_major(s.b + k);
      if constexpr (!b_k_major) return simt::wgmma_mn_major(s.b + k * 64, 64 * depth * sizeof(bf16));
    }();
    simt::wgmma_bf16(d, left, right, k > 0);
  }
  simt::wgmma_commit();
  simt::wgmma_wait<0>(d);
  const int w = thread / 32, g = thread % 32 / 4, t = thread % 4;
  for (int i = 0; i < n / 2; ++i) {
    const int row = 16 * w + g + 8 * (i % 4 / 2), column = 8 * (i / 4) + 2 * t + i % 2;
    to[row * n + column] = d[i];
  }
}

template <int n, bool a_k_major, bool b_k_major>
std::vector<float> run_wgmma_as(const std::vector<bf16>& a, const std::vector<bf16>& b) {
  simt::DeviceArray<bf16> left(a), right(b);
  simt::DeviceArray<float> to(std::size_t(64 * n));
  const TensorMap left_map = simt::make_tensor_map<bf16>(left.data(), {64, 64}, {64, 64}, Swizzle::bytes128);
  const TensorMap right_map =
      b_k_major ? simt::make_tensor_map<bf16>(right.data(), {64, n}, {64, n}, Swizzle::bytes128)
                : simt::make_tensor_map<bf16>(right.data(), {n, 64}, {64, 64}, Swizzle::bytes128);
  simt::launch("wgmma", &wgmma_kernel<n, a_k_major, b_k_major>,
               {.block = 128, .shared_bytes = sizeof(WgmmaShared<n>)}, left_map, right_map, to.data());
  return to.to_host();
}

template <int n>
std::vector<float> run_wgmma_wide(bool a_k_major, bool b_k_major, const std::vector<bf16>& a,
                                  const std::vector<bf16>& b) {
  if (a_k_major) return b_k_major ? run_wgmma_as<n, true, true>(a, b) : run_wgmma_as<n, true, false>(a, b);
  return b_k_major ? run_wgmma_as<n, false, true>(a, b) : run_wgmma_as<n, false, false>(a, b);
}

std::vector<float> run_wgmma(int n, bool a_k_major, bool b_k_major, const std::vector<bf16>& a,
                             const std::vector<bf16>& b) {
  return n == 64    ? run_wgmma_wide<64>(a_k_major, b_k_major, a, b)
         : n == 128 ? run_wgmma_wide<128>(a_k_major, b_k_major, a, b)
                    : run_wgmma_wide<256>(a_k_major, b_k_major, a, b);
}

}  // namespace

HopperRunners hopper_runners() {
  return {&run_mbarrier_phases, &run_mbarrier_remote, &run_tma_load, &run_tma_store,
          &run_tma_multicast,   &run_bulk_copy,       &run_wgmma};
}

}  // namespace fovea::simt_tests::SIMT_WORLD
