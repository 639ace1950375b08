// hopper.hpp: what sm_90 adds for feeding tensor cores. mbarriers count arrivals and bytes, TMA copies whole
// tiles between global and shared memory, wgmma multiplies them from there. A kernel that uses them compiles
// for every architecture; below sm_90 (for wgmma: other than sm_90a) each of these traps.
//
// ---- mbarriers  [PTX ISA, "Parallel synchronization and communication instructions: mbarrier"]
//
// An Mbarrier lies in shared memory. It goes through phases: one is complete when as many arrivals as
// mbarrier_init said, and as many bytes as expected, have come in; then the next begins, with the same count.
// mbarrier_wait(b, parity) returns when the phase of that parity is complete: 0 for the first, 1 for the
// second, 0 for the third... The usual loop over a ring of stages passes (i / stages) % 2. What a thread did
// before it arrived, and what the counted copies wrote, is visible after the wait.
//
//   if (thread == 0) { simt::mbarrier_init(&s.full, 1); simt::fence_mbarrier_init(); }
//   __syncthreads();
//   if (thread == 0) {
//     simt::mbarrier_arrive_expect_tx(&s.full, sizeof s.tile);
//     simt::tma_load<2>(s.tile, &map, &s.full, {column, row});
//   }
//   simt::mbarrier_wait(&s.full, 0);
//
// mbarrier_arrive_remote arrives at the same variable of another block of the cluster; the block that is
// waiting for such arrivals calls mbarrier_wait_cluster, and cluster_sync() stands between init and the first
// of them.
//
// ---- TMA  [PTX ISA, "Tensors"; "Swizzling modes"; "cp.async.bulk", "cp.async.bulk.tensor"]
//
// make_tensor_map describes a tensor of rank 1 to 5 and the box that one copy moves, sizes innermost first.
// The kernel takes it as `const __grid_constant__ simt::TensorMap map`. One thread starts a copy; coordinates
// are signed elements, innermost first, and the part of a box outside of the tensor reads as zeros (and still
// counts as bytes) or is not written. Data and strides are multiples of 16 bytes, as is the box's innermost
// side; a side has at most 256 elements.
//
// A box lies in shared memory densely, innermost first, 128-byte aligned. With a swizzle the innermost side
// is exactly 32, 64 or 128 bytes, the tile is aligned to 256, 512 or 1024 bytes, and 16-byte pieces change
// places within each row: byte `offset` of the dense tile is at swizzled<swizzle>(offset).
//
// tma_store and bulk_store run in groups of the thread that started them, as cp.async does.
// fence_proxy_async() stands between ordinary writes of shared memory and the copy that reads them: by each
// writing thread, before the barrier that precedes the copy. bulk_wait_read<N> waits until the sources may be
// overwritten, bulk_wait<N> until the data is written; one of them before the thread exits.
//
// bulk_load and bulk_store copy plain bytes: addresses and sizes are multiples of 16.
//
// ---- wgmma  [PTX ISA, "Asynchronous warpgroup level matrix multiply-accumulate operation using
//              wgmma.mma_async"; "Shared memory matrix layout"; "Matrix descriptor"]
//
// A warpgroup (4 warps, the first a multiple of 4) computes D(64 x N) += A(64 x 16) B(16 x N), N = 64, 128 or
// 256, with bf16 operands in shared memory, swizzled by 128 bytes. The accumulator is float d[N / 2] in each
// thread:
//
//   d[4 j + e] is element (16 w + g + 8 (e / 2), 8 j + 2 t + e % 2)
//   w the warp in its group, g = lane / 4, t = lane % 4, j = 0 .. N/8 - 1, e = 0 .. 3
//
//   wgmma_k_major(tile)           A as [row][k], or B as [n][k]: rows of 64 elements (128 bytes), of which 16
//                                 are multiplied, from `tile` on: the begin + 0, 16, 32 or 48 elements.
//   wgmma_mn_major(tile, stride)  A as [k][row], or B as [k][n]: 16 rows of 64 elements, from a multiple of
//                                 8 rows on; the next 64 of N are `stride` bytes further (N of 64: 0).
//
// Both are what a TMA load of a box of 64 elements by so many rows with Swizzle::bytes128 leaves. In order:
//
//   simt::wgmma_fence(acc);     // acc was last touched by ordinary instructions
//   for (int k = 0; k < 64; k += 16)
//     simt::wgmma_bf16(acc, simt::wgmma_k_major(s.a + k), simt::wgmma_k_major(s.b + k));
//   simt::wgmma_commit();
//   simt::wgmma_wait<0>(acc);   // before acc is read, or the tiles overwritten
//
// wgmma_bf16(acc, a, b, false) overwrites acc instead of adding to it. All 128 threads take part in each of
// these, with the same operands.
#pragma once

#include "simt/hopper_types.hpp"

#if defined(SIMT_DEVICE)
#include "simt/device/hopper.hpp"
#else
#include "simt/host/hopper.hpp"
#endif

namespace simt {
inline namespace SIMT_WORLD {

/// A tensor of bf16, float or double in global memory, for TMA. `strides` are the bytes from one element to
/// the next along each side but the innermost; without them the tensor is dense.
template <class T>
TensorMap make_tensor_map(const T* data, const Sizes& extents, const Sizes& box,
                          Swizzle swizzle = Swizzle::none, const Sizes& strides = {}) {
  detail::TensorShape shape{data, sizeof(T), extents, box, strides, swizzle};
  shape.fill_strides();
  shape.check();
  return detail::encode_tensor_map<T>(shape);
}

}  // namespace SIMT_WORLD
}  // namespace simt
