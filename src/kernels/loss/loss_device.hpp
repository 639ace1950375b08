// What the kernels of loss share: a warp to a row, lanes along the classes. Included by kernel files only.
#pragma once

#include <cmath>

#include "kernels/cuda/block_sum.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/loss/kernels.hpp"

namespace fovea::SIMT_WORLD {

constexpr int loss_threads = 256;
constexpr int loss_warps = loss_threads / 32;

/// f(row) for the rows of this warp, of all warps of the grid; its 32 lanes make each call together.
template <class F>
__device__ __forceinline__ void for_each_row(std::int64_t rows, F&& f) {
  const std::int64_t first = std::int64_t{blockIdx.x} * loss_warps + simt::warp();
  for (std::int64_t row = first; row < rows; row += std::int64_t{gridDim.x} * loss_warps) f(row);
}

/// The largest of a row's values, and the sum of exp(x - largest).
template <class A>
struct RowSum {
  A largest, sum;
};

template <class T, class A>
__device__ __forceinline__ RowSum<A> sum_row(const T* x, std::int64_t k) {
  A largest = -A(INFINITY);
  for (std::int64_t c = simt::lane(); c < k; c += 32) {
    const A value = A(x[c]);
    largest = largest >= value ? largest : value;
  }
  largest = simt::warp_max(largest);
  A sum = A(0);
  for (std::int64_t c = simt::lane(); c < k; c += 32) sum += std::exp(A(x[c]) - largest);
  return {largest, simt::warp_sum(sum)};
}

/// Rows to warps, over at most so many blocks as fill a device.
inline simt::Launch row_launch(std::int64_t rows, Stream stream) {
  const unsigned blocks = blocks_for(rows, loss_warps);
  return {.grid = blocks < 1024 ? blocks : 1024, .block = loss_threads, .stream = stream_of(stream)};
}

}  // namespace fovea::SIMT_WORLD
