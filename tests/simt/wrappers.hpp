// What the wrappers' kernels offer to their tests: one table of runners for each file of kernels and each world.
// A runner copies its arguments to the world's memory, launches, and brings the result back.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "simt/bf16.hpp"
#include "simt/hopper.hpp"

namespace fovea::simt_tests {

using simt::bf16;

/// wrappers_warp.cu
struct WarpRunners {
  int (*architecture)();  // 90 for sm_90; 0: no device answers
  /// 32 rows of 8; each lane's registers.
  std::vector<std::uint32_t> (*ldmatrix)(int matrices, bool transposed,
                                         const std::vector<std::uint16_t>& rows);
  /// d + a b for one instruction's shapes, row-major.
  std::vector<float> (*mma_bf16)(const std::vector<bf16>& a, const std::vector<bf16>& b,
                                 const std::vector<float>& d);
  std::vector<float> (*mma_tf32)(const std::vector<float>& a, const std::vector<float>& b,
                                 const std::vector<float>& d, bool rounded);
  std::vector<double> (*mma_f64)(const std::vector<double>& a, const std::vector<double>& b,
                                 const std::vector<double>& d);
  std::vector<std::uint32_t> (*to_tf32)(const std::vector<float>& values);
  std::vector<std::uint16_t> (*to_bf16)(const std::vector<float>& values);
  /// By cuda_bf16.h's functions on the CPU; null in the host's world, which knows no CUDA.
  std::vector<std::uint16_t> (*cuda_to_bf16)(const std::vector<float>& values);
  std::vector<float> (*cuda_from_bf16)(const std::vector<std::uint16_t>& bits);
  /// Copies of `width` bytes, each of which reads only its first bytes[i].
  std::vector<unsigned char> (*cp_async)(int width, const std::vector<unsigned char>& from,
                                         const std::vector<int>& bytes);
  /// Numbers from one warp to another through a slot guarded by two named barriers.
  std::vector<int> (*named_barriers)(int rounds);
};

/// A tensor, and the box of it that a copy moves.
struct TileCase {
  int element_bytes = 2;
  std::vector<int> extents, box;
  std::array<int, 5> at{};
  simt::Swizzle swizzle = simt::Swizzle::none;
  int row_padding = 0;  // bytes after each innermost row
};

/// wrappers_hopper.cu
struct HopperRunners {
  /// What a warp reads after each of so many phases, when all threads of the block arrive in each.
  std::vector<int> (*mbarrier_phases)(int phases, bool polling);
  /// Sums that a block of a cluster of two collects after remote arrivals.
  std::vector<int> (*mbarrier_remote)(int phases);
  /// The tile as it lies in shared memory.
  std::vector<unsigned char> (*tma_load)(const TileCase& tile, const std::vector<unsigned char>& tensor);
  /// The tensor after the tile, as it lies in shared memory, was stored to it.
  std::vector<unsigned char> (*tma_store)(const TileCase& tile, const std::vector<unsigned char>& shared,
                                          const std::vector<unsigned char>& tensor, bool wait_for_read_only);
  /// The 16 x 16 floats that each of two blocks gets, one after the other.
  std::vector<float> (*tma_multicast)(const std::vector<float>& tensor);
  std::vector<float> (*bulk_copy)(const std::vector<float>& values);
  /// a (64 x 64) b (64 x n), each given with its contiguous side last.
  std::vector<float> (*wgmma)(int n, bool a_k_major, bool b_k_major, const std::vector<bf16>& a,
                              const std::vector<bf16>& b);
};

/// wrappers_gemm.cu: c (m x n) = a (m x k) b, with b as [k][n] or, for wgmma, as [n][k].
struct GemmRunners {
  std::vector<float> (*bf16_mma)(int m, int n, int k, const std::vector<bf16>& a, const std::vector<bf16>& b);
  std::vector<float> (*tf32_mma)(int m, int n, int k, const std::vector<float>& a,
                                 const std::vector<float>& b);
  std::vector<float> (*bf16_wgmma)(int m, int n, int k, const std::vector<bf16>& a,
                                   const std::vector<bf16>& b);
};

/// wrappers_misuse.cu: each is refused by the host executor; never run on a device.
enum class Misuse {
  ldmatrix_misaligned,
  ldmatrix_global,
  ldmatrix_partial_warp,
  ldmatrix_divergent,
  mma_partial_warp,
  cp_async_misaligned,
  cp_async_bytes,
  cp_async_global,
  cp_async_never_waited,
  named_barrier_id,
  named_barrier_count,
  named_barrier_mismatch,
  named_barrier_starved,
  mbarrier_uninitialised,
  mbarrier_overwritten,
  mbarrier_misaligned,
  mbarrier_global,
  mbarrier_zero,
  mbarrier_twice,
  mbarrier_too_many_arrivals,
  mbarrier_parity,
  mbarrier_starved,
  mbarrier_polled_forever,
  mbarrier_too_many_bytes,
  mbarrier_expects_too_much,
  mbarrier_invalidated,
  mbarrier_remote_unfenced,
  tma_rank,
  tma_misaligned,
  tma_swizzle_misaligned,
  tma_global_tile,
  tma_unfenced,
  tma_never_waited,
  tma_overlap,
  tma_bytes_short,
  tma_no_block,
  tma_no_such_rank,
  tma_store_never_waited,
  tma_overwrites_store,
  bulk_misaligned,
  bulk_size,
  wgmma_small_block,
  wgmma_exited_lanes,
  wgmma_misaligned,
  wgmma_mn_misaligned,
  wgmma_no_stride,
  wgmma_global,
  wgmma_different_operands,
  wgmma_different_accumulate,
  wgmma_no_fence,
  wgmma_no_fence_again,
  wgmma_widths,
  wgmma_never_waited,
  wgmma_missing_warp,
};
struct MisuseRunners {
  void (*run)(Misuse which);
  /// What is seen in a tile before the wait for its copy (where asked) and after it, and in an accumulator before
  /// the wait for its product and after it.
  std::vector<float> (*early)(bool tile_too);
};

namespace on_host {
WarpRunners warp_runners();
HopperRunners hopper_runners();
GemmRunners gemm_runners();
MisuseRunners misuse_runners();
}  // namespace on_host
namespace on_device {
WarpRunners warp_runners();
HopperRunners hopper_runners();
GemmRunners gemm_runners();
MisuseRunners misuse_runners();
}  // namespace on_device

}  // namespace fovea::simt_tests
