// tensor_core.hpp: a warp's matrix products, D = A B + D, and how their operands get into registers.
//
// A fragment is a warp's share of a matrix: each lane holds a few elements in registers. Write
//
//   g = lane / 4   (0..7)       t = lane % 4   (0..3)
//
// [PTX ISA, "Warp-level matrix load instruction: ldmatrix"] ldmatrix_x1, _x2, _x4 load 1, 2 or 4 matrices of
// 8 x 8 16-bit elements from shared memory. Row r of matrix m is 16 contiguous bytes at the address that lane
// 8 m + r gives (other lanes' addresses are ignored, but every lane takes part), a multiple of 16. Rows may
// lie anywhere: a pitch of 16 bytes more than a multiple of 128 avoids bank conflicts. Lane (g, t) gets in
// registers[m] elements (g, 2t) in the lower and (g, 2t+1) in the upper half; the _trans forms transpose
// first: (2t, g) and (2t+1, g).
//
// [PTX ISA, "Warp-level matrix instructions for mma": "Matrix fragments for mma.m16n8k16 with floating point
// type", "... mma.m16n8k8", "... mma.m8n8k4 with .f64 floating point type"]
//
//   mma_bf16_m16n8k16   bf16 pairs packed with the lower column (of A) or row (of B) in the lower half
//     a[0] (g, 2t..2t+1)   a[1] (g+8, 2t..)   a[2] (g, 2t+8..)   a[3] (g+8, 2t+8..)
//     b0 (2t..2t+1, g)     b1 (2t+8..2t+9, g)
//   mma_tf32_m16n8k8    floats rounded by to_tf32
//     a[0] (g, t)          a[1] (g+8, t)      a[2] (g, t+4)      a[3] (g+8, t+4)
//     b0 (t, g)            b1 (t+4, g)
//   mma_f64_m8n8k4
//     a (g, t)             b (t, g)
//   d, of 16 rows: d[0] (g, 2t)  d[1] (g, 2t+1)  d[2] (g+8, 2t)  d[3] (g+8, 2t+1); of 8 rows: d[0], d[1]
//
// So for bf16: A in shared memory as [row][k] is loaded by one ldmatrix_x4 in which lane l points at row l %
// 16, column 8 (l / 16). B as [n][k] is loaded by ldmatrix_x2, lane l at row l % 8, column 8 (l / 8 % 2); B
// as [k][n] by ldmatrix_x2_trans, lane l at row l % 16.
//
// All 32 lanes take part in each of these. They order no memory: __syncwarp or a barrier stands between the
// writes of other lanes and ldmatrix. Sums are in float (double for f64), in an order that is not specified.
#pragma once

#include "simt/bf16.hpp"
#include "simt/core.hpp"

namespace simt {

/// Two bf16 as an operand register.
SIMT_BOTH std::uint32_t pack(bf16 lower, bf16 upper) {
  return std::uint32_t(lower.bits) | std::uint32_t(upper.bits) << 16;
}

}  // namespace simt

#if defined(SIMT_DEVICE)
#include "simt/device/tensor_core.hpp"
#else
#include "simt/host/tensor_core.hpp"
#endif
