// One mistake a case: what each wrapper must refuse on the host executor. Compiled for the device like any kernel,
// and never run there.
#include "simt/simt.hpp"
#include "wrappers.hpp"

namespace fovea::simt_tests::SIMT_WORLD {
namespace {

using simt::Mbarrier;
using simt::Swizzle;
using simt::TensorMap;

struct Shared {
  alignas(1024) bf16 tile[2][64 * 64];
  alignas(1024) bf16 wide[128 * 64];
  alignas(16) float values[64];
  Mbarrier barrier, other;
};

struct Global {
  float* values;  // 4096
  bf16* matrix;   // 64 x 64
};

struct Maps {
  TensorMap plain, swizzled;
};

__device__ bool first() { return threadIdx.x == 0; }

// ---- the warp's wrappers

__device__ void misuse_matrix(Misuse which, Shared& s, const Global& global) {
  const int lane = threadIdx.x % 32;
  std::uint32_t r[4] = {};
  float d[4] = {};
  switch (which) {
    case Misuse::ldmatrix_misaligned:
      return simt::ldmatrix_x4(r, &s.tile[0][lane * 8 + (lane == 9 ? 1 : 0)]);
    case Misuse::ldmatrix_global:
      return simt::ldmatrix_x4(r, global.matrix + lane * 8);
    case Misuse::ldmatrix_partial_warp:
      if (lane >= 30) return;
      return simt::ldmatrix_x4(r, &s.tile[0][lane * 8]);
    case Misuse::ldmatrix_divergent:
      if (lane < 16) return simt::ldmatrix_x4(r, &s.tile[0][lane * 8]);
      return simt::ldmatrix_x4(r, &s.tile[1][lane * 8]);
    default:
      if (lane < 2) return;
      return simt::mma_bf16_m16n8k16(d, r, 0, 0);
  }
}

__device__ void misuse_cp_async(Misuse which, Shared& s, const Global& global) {
  if (!first()) return;
  switch (which) {
    case Misuse::cp_async_misaligned:
      return simt::cp_async<16>(&s.values[0], &global.values[1]);
    case Misuse::cp_async_bytes:
      return simt::cp_async<4>(&s.values[0], &global.values[0], 5);
    case Misuse::cp_async_global:
      return simt::cp_async<4>(&global.values[0], &global.values[1]);
    default:
      simt::cp_async<4>(&s.values[0], &global.values[0]);
      simt::cp_async_wait<0>();  // no group was committed: it waits for nothing
      return;
  }
}

__device__ void misuse_named_barrier(Misuse which) {
  switch (which) {
    case Misuse::named_barrier_id:
      return simt::named_barrier_arrive(16, 64);
    case Misuse::named_barrier_count:
      return simt::named_barrier(1, 40);
    case Misuse::named_barrier_mismatch:
      return simt::named_barrier(1, threadIdx.x < 32 ? 64 : 128);
    default:
      if (threadIdx.x < 32) return simt::named_barrier(1, 128);
      return;
  }
}

// ---- mbarriers

__device__ void misuse_initialisation(Misuse which, Shared& s, const Global& global) {
  switch (which) {
    case Misuse::mbarrier_uninitialised:
      return simt::mbarrier_arrive(&s.other);
    case Misuse::mbarrier_overwritten:
      s.barrier.state = 0;
      return simt::mbarrier_arrive(&s.barrier);
    case Misuse::mbarrier_misaligned:
      return simt::mbarrier_init(reinterpret_cast<Mbarrier*>(&s.values[1]), 1);
    case Misuse::mbarrier_global:
      return simt::mbarrier_init(reinterpret_cast<Mbarrier*>(global.values), 1);
    case Misuse::mbarrier_zero:
      return simt::mbarrier_init(&s.other, 0);
    case Misuse::mbarrier_twice:
      return simt::mbarrier_init(&s.barrier, 1);
    default:
      simt::mbarrier_invalidate(&s.barrier);
      return simt::mbarrier_wait(&s.barrier, 0);
  }
}

__device__ void misuse_mbarrier(Misuse which, Shared& s, const Global& global) {
  if (!first()) return;
  switch (which) {
    case Misuse::mbarrier_too_many_arrivals:
      simt::mbarrier_arrive_expect_tx(&s.barrier, 64);
      return simt::mbarrier_arrive(&s.barrier);
    case Misuse::mbarrier_parity:
      return simt::mbarrier_wait(&s.barrier, 2);
    case Misuse::mbarrier_starved:
      simt::mbarrier_expect_tx(&s.barrier, 64);
      return simt::mbarrier_wait(&s.barrier, 0);
    case Misuse::mbarrier_polled_forever:
      while (!simt::mbarrier_test(&s.barrier, 0)) {
      }
      return;
    case Misuse::mbarrier_too_many_bytes:
      simt::mbarrier_arrive_expect_tx(&s.barrier, 16);
      simt::bulk_load(s.values, global.values, 32, &s.barrier);
      return simt::mbarrier_wait(&s.barrier, 0);
    case Misuse::mbarrier_expects_too_much:
      return simt::mbarrier_expect_tx(&s.barrier, 1u << 20);
    case Misuse::mbarrier_remote_unfenced:
      simt::mbarrier_init(&s.other, 1);
      return simt::mbarrier_arrive_remote(&s.other, 0);
    default:
      return misuse_initialisation(which, s, global);
  }
}

// ---- copies

__device__ void misuse_tma(Misuse which, Shared& s, const Global& global, const Maps& maps) {
  switch (which) {
    case Misuse::tma_rank:
      return simt::tma_load<3>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0, 0});
    case Misuse::tma_misaligned:
      return simt::tma_load<2>(s.tile[0] + 8, &maps.plain, &s.barrier, {0, 0});
    case Misuse::tma_swizzle_misaligned:
      return simt::tma_load<2>(s.tile[0] + 64, &maps.swizzled, &s.barrier, {0, 0});
    case Misuse::tma_global_tile:
      return simt::tma_load<2>(global.values, &maps.plain, &s.barrier, {0, 0});
    case Misuse::tma_unfenced:
      simt::mbarrier_init(&s.other, 1);
      return simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.other, {0, 0});
    case Misuse::tma_never_waited:
      simt::mbarrier_arrive_expect_tx(&s.barrier, sizeof s.tile[0]);
      return simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0});
    case Misuse::tma_overlap:
      simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0});
      return simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0});
    case Misuse::tma_bytes_short:
      simt::mbarrier_arrive_expect_tx(&s.barrier, 2 * sizeof s.tile[0]);
      simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0});
      return simt::mbarrier_wait(&s.barrier, 0);
    case Misuse::tma_no_block:
      return simt::tma_load_multicast<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0}, 0);
    case Misuse::tma_no_such_rank:
      return simt::tma_load_multicast<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0}, 2);
    case Misuse::tma_store_never_waited:
      simt::tma_store<2>(&maps.swizzled, {0, 0}, s.tile[0]);
      return simt::bulk_commit();
    case Misuse::tma_overwrites_store:
      simt::tma_store<2>(&maps.swizzled, {0, 0}, s.tile[0]);
      simt::bulk_commit();
      return simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0});
    case Misuse::bulk_misaligned:
      return simt::bulk_load(&s.values[0], &global.values[1], 16, &s.barrier);
    default:
      return simt::bulk_store(&global.values[0], &s.values[0], 24);
  }
}

// ---- wgmma

__device__ void misuse_operand(Misuse which, Shared& s, const Global& global) {
  float d[32] = {}, wide[64] = {};
  const auto tile = simt::wgmma_k_major(s.tile[0]);
  simt::wgmma_fence(d);
  switch (which) {
    case Misuse::wgmma_misaligned:
      return simt::wgmma_bf16(d, tile, simt::wgmma_k_major(s.tile[1] + 64));
    case Misuse::wgmma_mn_misaligned:
      return simt::wgmma_bf16(d, tile, simt::wgmma_mn_major(s.tile[1] + 64));
    case Misuse::wgmma_no_stride:
      return simt::wgmma_bf16(wide, tile, simt::wgmma_mn_major(s.wide));
    case Misuse::wgmma_global:
      return simt::wgmma_bf16(d, simt::wgmma_k_major(global.matrix), tile);
    case Misuse::wgmma_different_operands:
      return simt::wgmma_bf16(d, tile, simt::wgmma_k_major(s.tile[1] + (threadIdx.x < 64 ? 0 : 16)));
    default:
      return simt::wgmma_bf16(d, tile, tile, threadIdx.x != 77);
  }
}

__device__ void misuse_wgmma(Misuse which, Shared& s, const Global& global) {
  float d[64] = {};
  const auto tile = simt::wgmma_k_major(s.tile[0]);
  const auto wide = simt::wgmma_k_major(s.wide);
  switch (which) {
    case Misuse::wgmma_small_block:
      return simt::wgmma_fence(d);
    case Misuse::wgmma_exited_lanes:
      if (threadIdx.x % 32 == 5) return;
      return simt::wgmma_fence(d);
    case Misuse::wgmma_no_fence:
      return simt::wgmma_bf16(d, tile, wide);
    case Misuse::wgmma_no_fence_again:
      simt::wgmma_fence(d);
      simt::wgmma_bf16(d, tile, wide);
      simt::wgmma_commit();
      simt::wgmma_wait<0>(d);
      d[0] += 1;
      return simt::wgmma_bf16(d, tile, wide);
    case Misuse::wgmma_widths:
      simt::wgmma_fence(d);
      simt::wgmma_bf16(d, tile, wide);
      return simt::wgmma_bf16(reinterpret_cast<float(&)[32]>(d), tile, tile);
    case Misuse::wgmma_never_waited:
      simt::wgmma_fence(d);
      simt::wgmma_bf16(d, tile, wide);
      return simt::wgmma_commit();
    case Misuse::wgmma_missing_warp:
      if (threadIdx.x >= 96) return;
      simt::wgmma_fence(d);
      simt::wgmma_bf16(d, tile, wide);
      simt::wgmma_commit();
      return simt::wgmma_wait<0>(d);
    default:
      return misuse_operand(which, s, global);
  }
}

__global__ void misuse_kernel(Misuse which, Global global, const __grid_constant__ Maps maps) {
  auto& s = simt::shared<Shared>();
  for (int i = threadIdx.x; i < 64 * 64; i += blockDim.x) {
    s.tile[0][i] = s.tile[1][i] = s.wide[i] = s.wide[64 * 64 + i] = bf16(0.0f);
  }
  simt::fence_proxy_async();
  if (threadIdx.x < 64) s.values[threadIdx.x] = 0;
  if (first()) {
    simt::mbarrier_init(&s.barrier, 1);
    simt::fence_mbarrier_init();
  }
  __syncthreads();
  if (which <= Misuse::mma_partial_warp) return misuse_matrix(which, s, global);
  if (which <= Misuse::cp_async_never_waited) return misuse_cp_async(which, s, global);
  if (which <= Misuse::named_barrier_starved) return misuse_named_barrier(which);
  if (which <= Misuse::mbarrier_remote_unfenced) return misuse_mbarrier(which, s, global);
  if (which >= Misuse::wgmma_small_block) return misuse_wgmma(which, s, global);
  if (first()) misuse_tma(which, s, global, maps);
}

struct Memory {
  simt::DeviceArray<float> values{std::vector<float>(4096, 1.0f)};
  simt::DeviceArray<bf16> matrix{std::vector<bf16>(64 * 64, bf16(1.0f))};
};

Maps maps_of(Memory& memory) {
  return {simt::make_tensor_map<float>(memory.values.data(), {64, 64}, {16, 16}),
          simt::make_tensor_map<bf16>(memory.matrix.data(), {64, 64}, {64, 64}, Swizzle::bytes128)};
}

void run_misuse(Misuse which) {
  Memory memory;
  const unsigned threads = which == Misuse::wgmma_small_block ? 96 : 128;
  simt::launch("misuse", &misuse_kernel, {.block = threads, .shared_bytes = sizeof(Shared)}, which,
               Global{memory.values.data(), memory.matrix.data()}, maps_of(memory));
}

// Reads a tile before its copy is waited for, where asked to, and an accumulator before its product is; then does
// wait for both.
__global__ void early_kernel(const __grid_constant__ Maps maps, bool tile_too, float* seen) {
  auto& s = simt::shared<Shared>();
  if (first()) {
    simt::mbarrier_init(&s.barrier, 1);
    simt::fence_mbarrier_init();
    simt::mbarrier_arrive_expect_tx(&s.barrier, sizeof s.tile[0]);
    simt::tma_load<2>(s.tile[0], &maps.swizzled, &s.barrier, {0, 0});
    if (tile_too) seen[0] = s.tile[0][0];
  }
  __syncthreads();
  simt::mbarrier_wait(&s.barrier, 0);
  if (first()) seen[1] = s.tile[0][0];
  float d[32] = {};
  simt::wgmma_fence(d);
  simt::wgmma_bf16(d, simt::wgmma_k_major(s.tile[0]), simt::wgmma_k_major(s.tile[0]));
  simt::wgmma_commit();
  if (first()) seen[2] = d[0];
  simt::wgmma_wait<0>(d);
  if (first()) seen[3] = d[0];
}

std::vector<float> run_early(bool tile_too) {
  Memory memory;
  simt::DeviceArray<float> seen(std::size_t(4));
  simt::launch("early", &early_kernel, {.block = 128, .shared_bytes = sizeof(Shared)}, maps_of(memory),
               tile_too, seen.data());
  return seen.to_host();
}

}  // namespace

MisuseRunners misuse_runners() { return {&run_misuse, &run_early}; }

}  // namespace fovea::simt_tests::SIMT_WORLD
