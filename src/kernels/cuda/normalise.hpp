// Normalisation of the channels of rows x channels, for the ops that normalise: batch_norm, and mlrm, whose branches
// are normalised side by side. With d = x - mean and z = d gamma invstd + beta:
//
//   statistics   mean, invstd and the running ones from the moments of parts (columns.hpp)
//   gradients    g = dy where z > 0 (or everywhere): dbeta = sum g, dgamma = invstd sum(g d),
//                dx = gamma invstd (g - dbeta / R - d invstd dgamma / R)      through batch statistics
//                dx = gamma invstd g                                          with constant ones
//
// Up to four tensors of one size at once, each a matrix of ColumnShape. Included by kernel files only.
#pragma once

#include <cmath>

#include "kernels/cuda/columns.hpp"

namespace fovea::SIMT_WORLD {

constexpr int most_norms = 4;

template <class A>
__device__ __forceinline__ A inverse_deviation(A variance, A eps) {
  return A(1) / std::sqrt(variance + eps);
}

/// The per-channel inputs of one: the mean, and 1/deviation or, where `eps` is not negative, the variance.
template <class A>
struct ChannelInputs {
  const A *gamma, *beta, *mean, *spread;
  A eps;
};

/// Of V channels. Forward and backward compute z alike, so that both see the same mask.
template <int V, class A>
struct Normaliser {
  A mean[V] = {}, invstd[V] = {}, scale[V] = {}, beta[V] = {};
  Normaliser() = default;
  __device__ __forceinline__ Normaliser(const ChannelInputs<A>& in, const ColumnShare<V>& share) {
    load(in, share);
  }
  __device__ __forceinline__ void load(const ChannelInputs<A>& in, const ColumnShare<V>& share) {
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

template <class A>
struct ChannelStatistics {
  A *mean, *invstd, *running_mean, *running_var;
};
template <class A>
struct StatisticsOf {
  ChannelStatistics<A> at[most_norms];
  double eps, momentum;
};
/// From partials of ColumnMoments' form, of a matrix for each tensor; the variance of the running ones is unbiased.
template <class A>
void merge_statistics(const simt::LaunchName& name, const A* partials, const ColumnShape& parts,
                      const StatisticsOf<A>& statistics, Stream stream);

template <class T>
struct NormGradient {
  const T *x, *dy;
  T* dx;  // it may be dy
  ChannelInputs<Accumulator<T>> in;
  Accumulator<T>*dgamma, *dbeta;
};
template <class T>
struct NormGradients {
  NormGradient<T> at[most_norms];
  std::int64_t x_pitch, dy_pitch;  // elements from row to row, of x and dx, and of dy
  bool relu;
  bool constant;    // statistics do not depend on x
  bool accumulate;  // dx is added to
  bool aligned;     // all rows, to 16 bytes
};
/// Three launches, two with constant statistics. x and dy are read twice, or once; dx that is added to, once.
template <class T>
void normalise_backward(const simt::LaunchName& name, const NormGradients<T>& t, std::int64_t tensors,
                        std::int64_t rows, std::int64_t channels, Stream stream);

}  // namespace fovea::SIMT_WORLD
