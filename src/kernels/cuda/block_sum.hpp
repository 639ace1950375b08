// The sum over a block's threads, in one fixed order. Included by kernel files only.
#pragma once

#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

/// Every thread of a block of `threads` calls it and gets the sum: a tree over each warp, then the warps in order.
template <int threads, class A>
__device__ __forceinline__ A block_sum(A value) {
  SIMT_SHARED(A, part, [threads / 32]);
  value = simt::warp_sum(value);
  if (simt::lane() == 0) part[simt::warp()] = value;
  __syncthreads();
  value = part[0];
  for (int w = 1; w < threads / 32; ++w) value += part[w];
  __syncthreads();  // the next call writes there
  return value;
}

}  // namespace fovea::SIMT_WORLD
