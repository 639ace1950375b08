// reduce.hpp: reductions over a warp, on the shuffles of simt.hpp. All 32 lanes take part and get the result;
// the order of the sum is a fixed tree, so the same values give the same bits.
#pragma once

#include "simt/core.hpp"

namespace simt {

constexpr unsigned all_lanes = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(all_lanes, value, offset);
  return value;
}

template <class T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(all_lanes, value, offset);
    value = value != value ? value : !(other <= value) ? other : value;  // a NaN of any lane is every lane's
  }
  return value;
}

}  // namespace simt
