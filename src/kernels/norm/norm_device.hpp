// What batch_norm's CUDA kernels share. Included by kernel files only.
#pragma once

#include "kernels/cuda/columns.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea::SIMT_WORLD {

template <class A>
__device__ __forceinline__ A inverse_deviation(A variance, A eps) {
  return A(1) / std::sqrt(variance + eps);
}

/// The per-channel inputs: the mean, and 1/deviation or, where `eps` is not negative, the variance.
template <class A>
struct ChannelInputs {
  const A *gamma, *beta, *mean, *spread;
  A eps;
};

/// Of V channels. Forward and backward compute z alike, so that both see the same mask.
template <int V, class A>
struct Normaliser {
  A mean[V], invstd[V], scale[V], beta[V];
  __device__ __forceinline__ Normaliser(const ChannelInputs<A>& in, const ColumnShare<V>& share) {
    if (!share.active) return;
    A gamma[V];
    load_values<V>(gamma, in.gamma + share.channel);
    load_values<V>(beta, in.beta + share.channel);
    load_values<V>(mean, in.mean + share.channel);
    load_values<V>(invstd, in.spread + share.channel);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (in.eps >= A(0)) invstd[v] = inverse_deviation(invstd[v], in.eps);
      scale[v] = gamma[v] * invstd[v];
    }
  }
  __device__ __forceinline__ A z(int v, A distance) const { return distance * scale[v] + beta[v]; }
};

inline simt::Launch columns_launch(const ColumnShape& s, Stream stream) {
  return {.grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)};
}

}  // namespace fovea::SIMT_WORLD
