// Products with the weights of fully connected layers that are too small for a matrix product of their own: a block makes
// them on its way. Included by kernel files only; all threads of a block call these.
#pragma once

#include <cstddef>

#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

/// out(g, row, sum_i w[row, i] x[g, i]) for rows [begin, end) and the first `vectors` of G vectors: L lanes to a row, which
/// read a weight once for all vectors.
template <int G, int L = 32, class A, class Out>
__device__ __forceinline__ void row_products(const A* w, int columns, const A* x, int vectors, int begin,
                                             int end, Out&& out) {
  static_assert(G <= L, "a lane for each result");
  const int thread = static_cast<int>(threadIdx.x), rows_at_once = static_cast<int>(blockDim.x) / L;
  const int lane = thread % L;
  for (int base = begin; base < end; base += rows_at_once) {
    const int row = base + thread / L;
    A dot[G] = {};
    if (row < end) {
      const A* weights = w + static_cast<std::size_t>(row) * columns;
      for (int i = lane; i < columns; i += L) {
        const A weight = weights[i];
#pragma unroll
        for (int g = 0; g < G; ++g) {
          if (g < vectors) dot[g] += weight * x[static_cast<std::size_t>(g) * columns + i];
        }
      }
    }
#pragma unroll
    for (int g = 0; g < G; ++g) {
#pragma unroll
      for (int offset = L / 2; offset > 0; offset /= 2)
        dot[g] += __shfl_xor_sync(simt::all_lanes, dot[g], offset);
      if (g < vectors && row < end && lane == g) out(g, row, dot[g]);
    }
  }
}

/// A layer's weights, rows x columns, or some of them: rows lie `stride` values apart.
template <class A>
struct LayerWeights {
  const A* at;
  int rows, columns, stride;
};

constexpr int column_chain = 64;  // terms that a thread adds one after another before they join the rest

/// out(g, column, sum_k y[g, k] w[k, column]) for `width` columns from `first` on and the first `vectors` of G vectors;
/// `width` divides the block's threads, and those beyond the first `width` share the rows. `part` holds G values for each
/// thread.
template <int G, class A, class Out>
__device__ __forceinline__ void column_tile_products(const LayerWeights<A>& w, const A* y, int vectors,
                                                     int first, int width, A* part, Out&& out) {
  const int thread = static_cast<int>(threadIdx.x), ways = static_cast<int>(blockDim.x) / width;
  const int column = first + thread % width, way = thread / width;
  A sum[G] = {};
  if (column < w.columns) {
    for (int begin = way; begin < w.rows; begin += column_chain * ways) {
      A chain[G] = {};
      const int end = min(w.rows, begin + column_chain * ways);
      for (int k = begin; k < end; k += ways) {
        const A weight = w.at[static_cast<std::size_t>(k) * w.stride + column];
#pragma unroll
        for (int g = 0; g < G; ++g) {
          if (g < vectors) chain[g] += weight * y[static_cast<std::size_t>(g) * w.rows + k];
        }
      }
#pragma unroll
      for (int g = 0; g < G; ++g) sum[g] += chain[g];
    }
  }
#pragma unroll
  for (int g = 0; g < G; ++g) part[thread * G + g] = sum[g];
  __syncthreads();
  if (way == 0 && column < w.columns) {
#pragma unroll
    for (int g = 0; g < G; ++g) {
      for (int other = 1; other < ways; ++other) sum[g] += part[(other * width + thread) * G + g];
      if (g < vectors) out(g, column, sum[g]);
    }
  }
  __syncthreads();  // the next call writes there
}

/// out(column, sum_k y[k] w[k, column]) for all columns, as many at a time as the block has threads.
template <class A, class Out>
__device__ __forceinline__ void column_products(const LayerWeights<A>& w, const A* y, A* part, Out&& out) {
  int width = 32;
  while (width < w.columns && width * 2 <= static_cast<int>(blockDim.x)) width *= 2;
  for (int first = 0; first < w.columns; first += width) {
    column_tile_products<1>(w, y, 1, first, width, part, [&](int, int column, A sum) { out(column, sum); });
  }
}

}  // namespace fovea::SIMT_WORLD
