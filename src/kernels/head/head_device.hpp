// What head's kernels of both directions share: the parts of two image tensors, and the products with a layer's weights.
// Included by kernel files only.
#pragma once

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/scratch.hpp"
#include "kernels/head/head_shape.hpp"
#include "kernels/head/kernels.hpp"

namespace fovea::SIMT_WORLD {

constexpr int head_threads = HeadParts::threads;
constexpr int head_warps = head_threads / 32;
/// A block for each image, in the layers that are too small for more.
constexpr int image_threads = 512;

// ---- m and r in one launch

/// One of the two: n images of `pixels` x channels. Absent: parts is 0.
template <class T>
struct HeadImages {
  T* data;
  int pixels, parts, pixels_per_part;
};

template <class T>
HeadImages<T> head_images(const View& view, const HeadParts& shape) {
  if (!view) return {nullptr, 1, 0, 1};
  return {view.as<T>(), static_cast<int>(view.shape[1] * view.shape[2]), static_cast<int>(shape.parts),
          static_cast<int>(shape.pixels_per_part)};
}

/// The pixels and the tile of channels of this block: the blocks of m come first, then those of r.
template <class T>
struct HeadShare {
  HeadImages<T> of;
  bool is_r;
  int tile, part;
  std::size_t image;
  int begin, end;  // pixels
  __device__ __forceinline__ HeadShare(const HeadImages<T>& m, const HeadImages<T>& r, int images,
                                       int tiles) {
    unsigned block = blockIdx.x;
    const unsigned blocks_of_m = static_cast<unsigned>(images) * static_cast<unsigned>(m.parts * tiles);
    is_r = block >= blocks_of_m;
    if (is_r) block -= blocks_of_m;
    of = is_r ? r : m;
    tile = static_cast<int>(block % static_cast<unsigned>(tiles));
    block /= static_cast<unsigned>(tiles);
    part = static_cast<int>(block % static_cast<unsigned>(of.parts));
    image = block / static_cast<unsigned>(of.parts);
    begin = part * of.pixels_per_part;
    end = min(of.pixels, begin + of.pixels_per_part);
  }
};

// ---- products with a layer's weights, rows x columns, for G images at a time

/// out(g, row, sum_i w[row, i] x[g, i]), a warp to a row: rows `first`, `first + step`, ... All threads of the warp call
/// it. A weight is read once for all G images.
template <int G, class A, class Out>
__device__ __forceinline__ void row_products(const A* w, int rows, int columns, const A* x, int images,
                                             int first, int step, Out&& out) {
  const int lane = static_cast<int>(simt::lane());
  for (int row = first; row < rows; row += step) {
    const A* weights = w + static_cast<std::size_t>(row) * columns;
    A dot[G] = {};
    for (int i = lane; i < columns; i += 32) {
      const A weight = weights[i];
#pragma unroll
      for (int g = 0; g < G; ++g) {
        if (g < images) dot[g] += weight * x[static_cast<std::size_t>(g) * columns + i];
      }
    }
#pragma unroll
    for (int g = 0; g < G; ++g) {
      dot[g] = simt::warp_sum(dot[g]);
      if (g < images && lane == g) out(g, row, dot[g]);
    }
  }
}

constexpr int column_chain = 64;  // terms that a thread adds one after another before they join the rest

/// out(g, column, sum_k y[g, k] w[k, column]) for `width` columns from `first` on; `width` divides the block's threads, and
/// those beyond the first `width` share the rows. All threads of the block call it; `part` holds G values for each.
template <int G, class A, class Out>
__device__ __forceinline__ void column_products(const A* w, int rows, int columns, const A* y, int images,
                                                int first, int width, A* part, Out&& out) {
  const int thread = static_cast<int>(threadIdx.x), ways = static_cast<int>(blockDim.x) / width;
  const int column = first + thread % width, way = thread / width;
  A sum[G] = {};
  if (column < columns) {
    for (int begin = way; begin < rows; begin += column_chain * ways) {
      A chain[G] = {};
      const int end = min(rows, begin + column_chain * ways);
      for (int k = begin; k < end; k += ways) {
        const A weight = w[static_cast<std::size_t>(k) * columns + column];
#pragma unroll
        for (int g = 0; g < G; ++g) {
          if (g < images) chain[g] += weight * y[static_cast<std::size_t>(g) * rows + k];
        }
      }
#pragma unroll
      for (int g = 0; g < G; ++g) sum[g] += chain[g];
    }
  }
#pragma unroll
  for (int g = 0; g < G; ++g) part[thread * G + g] = sum[g];
  __syncthreads();
  if (way == 0 && column < columns) {
#pragma unroll
    for (int g = 0; g < G; ++g) {
      for (int other = 1; other < ways; ++other) sum[g] += part[(other * width + thread) * G + g];
      if (g < images) out(g, column, sum[g]);
    }
  }
  __syncthreads();  // the next call writes there
}

/// The least power of two of columns, from a warp's to a block's, that holds so many.
__device__ __forceinline__ int width_for(int columns) {
  int width = 32;
  while (width < columns && width < static_cast<int>(blockDim.x)) width *= 2;
  return width;
}

constexpr int group_images = 8;  // that share one reading of the shortcut's weights

inline simt::Launch head_launch(std::int64_t blocks, int threads, Stream stream) {
  return {.grid = static_cast<unsigned>(blocks),
          .block = static_cast<unsigned>(threads),
          .stream = stream_of(stream)};
}

}  // namespace fovea::SIMT_WORLD
