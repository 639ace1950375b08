// The gradients of ham's parameters, from what each image adds to them: sums over images, in order, without
// atomics. The last kernel of both backward forms; included by their kernel files only.
//
//   dfc1[j,c] = sum_n dz[n,j] a[n,c]         dfc2[c,j] = sum_n dlogit2[n,c] z[n,j]
//   dfc1_bias = sum_n dz[n]     dfc2_bias = sum_n dlogit2[n]     dw = sum of its rows     db = sum of its rows
//
// So the outer products of the images are never stored: dz and dlogit2 are N rows of hidden and C values.
// Traffic: the gradients written once (2 C hidden values), the rows read from the second-level cache.
// Launch: blocks of 32 outputs x 8 warps; each warp adds every eighth row, the first adds the warps' sums.
#pragma once

#include "kernels/ham/ham_device.hpp"

namespace fovea::SIMT_WORLD {

/// What images add to the gradients, made by the kernels before. A = float or double.
template <class A>
struct HamGradientRows {
  A *dlogit2, *dz;  // N,C and N,hidden: of the outputs of fc2 and fc1
  A *dw, *db;       // rows,C and rows
  int rows;         // an image, or a part of one
};

/// out[i] = sum_r left[r, i / inner] right[r, i % inner]; without `right` the sum of left[r, i].
template <class A>
struct RowSum {
  A* out;
  const A *left, *right;
  int rows, columns, left_width, inner;
};

template <class A>
struct RowSums {
  static constexpr int count = 6;
  RowSum<A> at[count];
  int first_block[count];
};

constexpr int weights_warps = 8;

template <class A>
__device__ __forceinline__ A warp_row_sum(const RowSum<A>& sum, int i) {
  const int outer = sum.right == nullptr ? i : i / sum.inner, inner = i - outer * sum.inner;
  A total = A(0);
  for (int r = static_cast<int>(simt::warp()); r < sum.rows; r += weights_warps) {
    const A left = sum.left[static_cast<std::size_t>(r) * sum.left_width + outer];
    total += sum.right == nullptr ? left : left * sum.right[static_cast<std::size_t>(r) * sum.inner + inner];
  }
  return total;
}

template <class A>
__global__ void __launch_bounds__(32 * weights_warps) ham_backward_weights(RowSums<A> sums) {
  SIMT_SHARED(A, part, [weights_warps][32]);
  int job = 0;
#pragma unroll
  for (int i = 1; i < RowSums<A>::count; ++i) job += static_cast<int>(blockIdx.x) >= sums.first_block[i];
  const RowSum<A> sum = sums.at[job];
  const int lane = static_cast<int>(simt::lane());
  const int i = (static_cast<int>(blockIdx.x) - sums.first_block[job]) * 32 + lane;
  part[simt::warp()][lane] = i < sum.columns ? warp_row_sum(sum, i) : A(0);
  __syncthreads();
  if (simt::warp() == 0 && i < sum.columns) {
    A total = part[0][lane];
    for (int w = 1; w < weights_warps; ++w) total += part[w][lane];
    sum.out[i] = total;
  }
}

template <class T, class A>
void sum_weights(const HamProblem& p, const HamBackward<T, A>& t, const HamGradientRows<A>& rows,
                 Stream stream) {
  const int n = static_cast<int>(p.n), c = static_cast<int>(p.c), hidden = static_cast<int>(p.hidden);
  RowSums<A> sums{{{t.dfc1_weight, rows.dz, t.a, n, hidden * c, hidden, c},
                   {t.dfc2_weight, rows.dlogit2, t.z, n, c * hidden, c, hidden},
                   {t.dspatial_weight, rows.dw, nullptr, rows.rows, c, c, 1},
                   {t.dfc2_bias, rows.dlogit2, nullptr, n, c, c, 1},
                   {t.dfc1_bias, rows.dz, nullptr, n, hidden, hidden, 1},
                   {t.dspatial_bias, rows.db, nullptr, rows.rows, 1, 1, 1}},
                  {}};
  int blocks = 0;
  for (int i = 0; i < RowSums<A>::count; ++i) {
    sums.first_block[i] = blocks;
    blocks += (sums.at[i].columns + 31) / 32;
  }
  simt::launch(
      "ham.backward, weights", &ham_backward_weights<A>,
      {.grid = static_cast<unsigned>(blocks), .block = 32 * weights_warps, .stream = stream_of(stream)},
      sums);
}

}  // namespace fovea::SIMT_WORLD
