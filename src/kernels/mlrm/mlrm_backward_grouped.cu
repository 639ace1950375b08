// mlrm backward: with g = dy where bn_b(z_b) > 0 and d = z_b - mean_b,
//
//   sums       of g and g d of each channel and branch, over parts of the pixels; dy and z_b are read
//   merge      dbeta_b = sum g and dgamma_b = invstd_b sum(g d), in double, in order
//   apply      dz_b = gamma_b invstd_b (g - dbeta_b / R - d invstd_b dgamma_b / R); dy and z_b read, dz_b written
//   data       dx = dy + sum_b the data gradient of dz_b: one product over all branches, dx written once
//   weights    dw_b of all branches in one launch
//
// Idea: the grouped products of convolution.hpp; the mask is computed again from z_b, so nothing but z_b is kept from
// the forward. With running statistics dz_b = gamma_b invstd_b g, and z_b is convolved again first.
//
// Traffic: with B branches, B dy + B z_b twice, dz_b written once and read by both products, x, dy and dx once: about
// 6 B + 3 images (dy of the later branches comes from the second-level cache). Launch: see the parts.
#include <algorithm>

#include "kernels/mlrm/mlrm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// Sums of g and g d; with `direct` also dz, which the sums do not change. A matrix of the shape is a branch.
template <class T, int V, bool direct>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    mlrm_gradient_sums(const __grid_constant__ BranchPointers<const T> z, const T* dy,
                       const __grid_constant__ BranchNorms<Accumulator<T>> norms, ColumnShape s,
                       Accumulator<T>* partials, const __grid_constant__ BranchPointers<T> dz) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const int branch = static_cast<int>(share.matrix);
  BranchNorm<V, A> norm;
  if (share.active) norm.load(norms, branch, share.channel);
  ColumnSums<2, V, A> sums;
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    const std::int64_t at = (row - share.matrix * s.rows) * s.channels + share.channel;
    constexpr int rows = decltype(batch)::value;
    A g[rows][V], moved[rows][V];
#pragma unroll
    for (int b = 0; b < rows; ++b) {
      load_as<V>(moved[b], z.at[branch] + at + b * share.step * s.channels);
      load_as<V>(g[b], dy + at + b * share.step * s.channels);
    }
#pragma unroll
    for (int b = 0; b < rows; ++b) {
      A out[V];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        if (norm(v, moved[b][v]) <= A(0)) g[b][v] = A(0);  // NaN passes
        moved[b][v] = (moved[b][v] - norm.mean[v]) * g[b][v];
        out[v] = norm.scale[v] * g[b][v];
      }
      if constexpr (direct) store_as<V>(dz.at[branch] + at + b * share.step * s.channels, out);
    }
    sums.template add<rows>(0, g);
    sums.template add<rows>(1, moved);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

template <class A>
struct ScaleGradients {
  BranchPointers<const A> spread;
  BranchPointers<A> dgamma, dbeta;
  double eps;  // as in BranchNorms
};

template <class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    mlrm_gradient_merge(const A* partials, ColumnShape s, const __grid_constant__ ScaleGradients<A> t) {
  merge_sums<2>(partials, s, [&](std::int64_t branch, std::int64_t c, const double(&sums)[2]) {
    const double spread = double(t.spread.at[branch][c]);
    const double invstd = t.eps >= 0 ? 1 / std::sqrt(spread + t.eps) : spread;
    t.dbeta.at[branch][c] = A(sums[0]);
    t.dgamma.at[branch][c] = A(sums[1] * invstd);
  });
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    mlrm_gradient_apply(const __grid_constant__ BranchPointers<const T> z, const T* dy,
                        const __grid_constant__ BranchNorms<Accumulator<T>> norms, ColumnShape s,
                        const __grid_constant__ BranchPointers<Accumulator<T>> dgamma,
                        const __grid_constant__ BranchPointers<Accumulator<T>> dbeta,
                        const __grid_constant__ BranchPointers<T> dz) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const int branch = static_cast<int>(share.matrix);
  BranchNorm<V, A> norm;
  A through_mean[V] = {}, through_spread[V] = {};
  if (share.active) {
    norm.load(norms, branch, share.channel);
    load_values<V>(through_mean, dbeta.at[branch] + share.channel);
    load_values<V>(through_spread, dgamma.at[branch] + share.channel);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      through_mean[v] /= A(s.rows);
      through_spread[v] *= norm.invstd[v] / A(s.rows);
    }
  }
  for (std::int64_t row = share.begin; row < share.end; row += share.step) {
    const std::int64_t at = (row - share.matrix * s.rows) * s.channels + share.channel;
    A value[V], g[V];
    load_as<V>(value, z.at[branch] + at);
    load_as<V>(g, dy + at);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      if (norm(v, value[v]) <= A(0)) g[v] = A(0);  // NaN passes
      value[v] = norm.scale[v] * (g[v] - through_mean[v] - (value[v] - norm.mean[v]) * through_spread[v]);
    }
    store_as<V>(dz.at[branch] + at, value);
  }
}

/// Where a backward's ports lie; `per_branch` as in kernels.hpp.
struct BackwardPorts {
  const MlrmProblem& p;
  Ports ports;
  std::size_t per_branch;

  template <class T>
  PerBranch<T> in(std::size_t port) const {
    return branch_ports<T>(p, port, [&](std::int64_t b) { return mlrm_backward_in(ports, per_branch, b); });
  }
  template <class T>
  PerBranch<T> out(std::size_t port) const {
    return branch_ports<T>(p, port,
                           [&](std::int64_t b) { return mlrm_backward_out(p, ports, per_branch, b); });
  }
};

/// dgamma, dbeta and dz from z; `norms.eps` not negative: statistics are constants.
template <class T, int V>
void through_norm(const BackwardPorts& t, const PerBranch<void>& z, const BranchNorms<Accumulator<T>>& norms,
                  const PerBranch<void>& dz, Stream stream) {
  using A = Accumulator<T>;
  const bool direct = norms.eps >= A(0);
  const T* dy = t.ports[1].as<T>();
  const ColumnShape s = column_shape(t.p.branches, t.p.rows(), t.p.c, V, simt::limits());
  const Scratch<A> partials(partial_count(s, 2), stream, "gradient sums of the parts");
  const BranchPointers<const T> from(z);
  const BranchPointers<T> to(dz);
  const BranchPointers<A> dgamma(t.out<void>(1)), dbeta(t.out<void>(2));
  simt::launch("mlrm.backward grouped, sums",
               direct ? &mlrm_gradient_sums<T, V, true> : &mlrm_gradient_sums<T, V, false>,
               columns_launch(s, stream), from, dy, norms, s, partials.data(), to);
  simt::launch("mlrm.backward grouped, merge", &mlrm_gradient_merge<A>, merge_launch(s, stream),
               partials.data(), s, ScaleGradients<A>{norms.spread, dgamma, dbeta, double(norms.eps)});
  if (direct) return;
  simt::launch("mlrm.backward grouped, apply", &mlrm_gradient_apply<T, V>, columns_launch(s, stream), from,
               dy, norms, s, dgamma, dbeta, to);
}

/// dw of all branches and dx, as far as they are wanted.
void through_convolutions(const BackwardPorts& t, const PerBranch<void>& dz, Stream stream) {
  const Convolution convolution = mlrm_convolution(t.p);
  const PerBranch<const void> from{dz[0], dz[1], dz[2], dz[3]};
  const PerBranch<void> dw = t.out<void>(0);
  if (std::any_of(dw.begin(), dw.end(), [](const void* wanted) { return wanted != nullptr; }))
    convolve_backward_weights(convolution, t.ports[0].data, from, dw, stream);
  const View& dx = mlrm_backward_dx(t.p, t.ports, t.per_branch);
  if (dx) convolve_backward_data(convolution, from, t.in<const void>(0), t.ports[1].data, dx.data, stream);
}

template <class T>
PerBranch<void> images_of(const MlrmProblem& p, const Scratch<T>& all) {
  PerBranch<void> images{};
  for (std::int64_t b = 0; b < p.branches; ++b)
    images[static_cast<std::size_t>(b)] = all.data() + b * p.x_shape().numel();
  return images;
}

}  // namespace

void mlrm_backward_grouped(const MlrmProblem& p, Ports ports, Stream stream) {
  const BackwardPorts t{p, ports, 6};
  visit_norm(p, ports, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const Scratch<T> all(p.branches * p.x_shape().numel(), stream, "dz of the branches");
    const PerBranch<void> dz = images_of(p, all);
    const BranchNorms<A> norms{BranchPointers<const A>(t.in<void>(1)), BranchPointers<const A>(t.in<void>(2)),
                               BranchPointers<const A>(t.in<void>(4)), BranchPointers<const A>(t.in<void>(5)),
                               A(-1)};
    through_norm<T, vector>(t, t.in<void>(3), norms, dz, stream);
    through_convolutions(t, dz, stream);
  });
}

void mlrm_backward_inference_grouped(const MlrmProblem& p, Ports ports, Stream stream) {
  const BackwardPorts t{p, ports, 5};
  visit_norm(p, ports, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const Scratch<T> all(p.branches * p.x_shape().numel(), stream, "z, then dz, of the branches");
    const PerBranch<void> images = images_of(p, all);
    convolve(mlrm_convolution(p), ports[0].data, t.in<const void>(0), images, {}, stream);
    const BranchNorms<A> norms{BranchPointers<const A>(t.in<void>(1)), BranchPointers<const A>(t.in<void>(2)),
                               BranchPointers<const A>(t.in<void>(3)), BranchPointers<const A>(t.in<void>(4)),
                               A(p.eps)};
    through_norm<T, vector>(t, images, norms, images, stream);
    through_convolutions(t, images, stream);
  });
}

}  // namespace fovea::SIMT_WORLD
