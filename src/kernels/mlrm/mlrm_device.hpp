// What mlrm's CUDA kernels share: its convolutions, the batch norm of a branch, launches. Included by kernel files
// only.
#pragma once

#include "kernels/cuda/columns.hpp"
#include "kernels/cuda/convolution.hpp"
#include "kernels/mlrm/kernels.hpp"

namespace fovea::SIMT_WORLD {

inline Convolution mlrm_convolution(const MlrmProblem& p) {
  Convolution all{.dtype = p.dtype,
                  .n = p.n,
                  .h = p.h,
                  .w = p.w,
                  .c = p.c,
                  .out_h = p.h,
                  .out_w = p.w,
                  .k = p.c,
                  .r = 3,
                  .s = 3,
                  .branches = p.branches};
  for (std::size_t b = 0; b < static_cast<std::size_t>(p.branches); ++b) {
    const std::int64_t d = p.dilations[b];
    all.branch[b] = {d, d, d, d};
  }
  return all;
}

/// A pointer for each branch to port `port` of the branch's `ports_of(branch)`.
template <class T, class PortsOf>
PerBranch<T> branch_ports(const MlrmProblem& p, std::size_t port, PortsOf&& ports_of) {
  PerBranch<T> all{};
  for (std::int64_t b = 0; b < p.branches; ++b)
    all[static_cast<std::size_t>(b)] = static_cast<T*>(ports_of(b)[port].data);
  return all;
}

/// The same as an array that kernels take.
template <class T>
struct BranchPointers {
  T* at[MlrmProblem::max_branches] = {};
  BranchPointers() = default;
  template <class Void>
  explicit BranchPointers(const PerBranch<Void>& pointers) {
    for (std::size_t b = 0; b < pointers.size(); ++b) at[b] = static_cast<T*>(pointers[b]);
  }
};

/// The normalisation of each branch: `spread` is 1 / deviation, or the variance where eps is not negative.
template <class A>
struct BranchNorms {
  BranchPointers<const A> gamma, beta, mean, spread;
  A eps;
};

/// Of V channels of one branch: bn(z) = (z - mean) scale + beta. Forward and backward compute it alike, so that both
/// see the same mask.
template <int V, class A>
struct BranchNorm {
  A mean[V] = {}, invstd[V] = {}, scale[V] = {}, beta[V] = {};
  __device__ __forceinline__ void load(const BranchNorms<A>& all, int branch, int channel) {
    load_values<V>(mean, all.mean.at[branch] + channel);
    load_values<V>(invstd, all.spread.at[branch] + channel);
    load_values<V>(scale, all.gamma.at[branch] + channel);
    load_values<V>(beta, all.beta.at[branch] + channel);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (all.eps >= A(0)) invstd[v] = A(1) / std::sqrt(invstd[v] + all.eps);
      scale[v] *= invstd[v];
    }
  }
  __device__ __forceinline__ A operator()(int v, A z) const { return (z - mean[v]) * scale[v] + beta[v]; }
};

/// Channels a thread of the elementwise kernels takes: 16 bytes of the small tensors.
template <class T>
constexpr int norm_vector = vector_of<Accumulator<T>>;

inline simt::Launch columns_launch(const ColumnShape& s, Stream stream) {
  return {.grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)};
}

/// Calls f(zero, std::integral_constant<int, V>) with V = norm_vector, or 1.
template <class F>
void visit_norm(const MlrmProblem& p, Ports ports, F&& f) {
  bool aligned = true;
  for (const View& port : ports) aligned = aligned && aligned_16({port.data});
  visit_element(p.dtype, [&](auto zero) {
    constexpr int vector = norm_vector<decltype(zero)>;
    if (aligned && p.c % vector == 0) {
      f(zero, std::integral_constant<int, vector>{});
    } else {
      f(zero, std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace fovea::SIMT_WORLD
