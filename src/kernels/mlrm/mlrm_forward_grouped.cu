// mlrm forward, in training: the dilated convolutions as one grouped product, then one pass that normalises.
//
//   convolve    z_b of all branches, and mean and M2 of each channel over each tile of pixels; x and the filters are
//               read, z_b written
//   merge       mean and invstd of each branch from the tiles, in order (Chan); running statistics
//   apply       y = x + sum_b relu( (z_b - mean_b) gamma_b invstd_b + beta_b ); x and z_b are read, y written
//
// Idea: the branches share their input, so one launch has the blocks of all of them: the last, half empty wave of
// blocks is one instead of three. The statistics come from the sums in the registers, so z is not read for them, and
// normalisation, ReLU, the sum of the branches and the residual are one pass.
//
// Traffic: with B branches, B + 1 images for the convolutions, B + 2 for the last pass: Cost's bytes, but z_b once more
// and x once more (forward must write z_b for the backward anyway). Launch: see convolution_forward.cu and columns.hpp.
#include "kernels/mlrm/mlrm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class A>
struct RunningStatistics {
  BranchPointers<A> mean, invstd, running_mean, running_var;
  double eps, momentum;
};

template <class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    mlrm_merge_statistics(const A* partials, ColumnShape s, const __grid_constant__ RunningStatistics<A> t) {
  merge_moments(partials, s, [&](std::int64_t branch, std::int64_t c, double mean, double m2) {
    const double rows = static_cast<double>(s.rows);
    t.mean.at[branch][c] = A(mean);
    t.invstd.at[branch][c] = A(1 / std::sqrt(m2 / rows + t.eps));
    A &running_mean = t.running_mean.at[branch][c], &running_var = t.running_var.at[branch][c];
    running_mean = A((1 - t.momentum) * double(running_mean) + t.momentum * mean);
    running_var = A((1 - t.momentum) * double(running_var) + t.momentum * (m2 / (rows - 1)));
  });
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    mlrm_apply(const T* x, const __grid_constant__ BranchPointers<const T> z,
               const __grid_constant__ BranchNorms<Accumulator<T>> norms, int branches, ColumnShape s, T* y) {
  using A = Accumulator<T>;
  constexpr int most = MlrmProblem::max_branches;
  const ColumnShare<V> share(s);
  BranchNorm<V, A> norm[most];
#pragma unroll
  for (int b = 0; b < most; ++b) {
    if (b < branches && share.active) norm[b].load(norms, b, share.channel);
  }
  for (std::int64_t row = share.begin; row < share.end; row += share.step) {
    const std::int64_t at = row * s.channels + share.channel;
    A sum[V];
    load_as<V>(sum, x + at);
#pragma unroll
    for (int b = 0; b < most; ++b) {
      if (b >= branches) continue;
      A value[V];
      load_as<V>(value, z.at[b] + at);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const A normalised = norm[b](v, value[v]);
        sum[v] += normalised < A(0) ? A(0) : normalised;  // NaN stays
      }
    }
    store_as<V>(y + at, sum);
  }
}

template <class T, int V>
void forward_training(const MlrmProblem& p, Ports ports, Stream stream) {
  using A = Accumulator<T>;
  const auto in = [&](std::int64_t b) { return mlrm_forward_in(ports, b); };
  const auto out = [&](std::int64_t b) { return mlrm_forward_out(p, ports, b); };
  const Convolution convolution = mlrm_convolution(p);
  const Scratch<A> partials(statistics_tiles(convolution) * p.branches * 2 * p.c, stream,
                            "statistics of the tiles");
  const PerBranch<void> z = branch_ports<void>(p, 0, out);
  const std::int64_t tile = convolve(convolution, ports[0].data, branch_ports<const void>(p, 0, in), z,
                                     {.statistics = partials.data()}, stream);
  ColumnShape tiles;
  tiles.matrices = p.branches;
  tiles.rows = p.rows();
  tiles.channels = p.c;
  tiles.rows_per_part = tile;
  tiles.parts = static_cast<int>((p.rows() + tile - 1) / tile);
  const RunningStatistics<A> statistics{BranchPointers<A>(branch_ports<void>(p, 1, out)),
                                        BranchPointers<A>(branch_ports<void>(p, 2, out)),
                                        BranchPointers<A>(branch_ports<void>(p, 3, in)),
                                        BranchPointers<A>(branch_ports<void>(p, 4, in)),
                                        p.eps,
                                        p.momentum};
  simt::launch("mlrm.forward grouped, merge", &mlrm_merge_statistics<A>, merge_launch(tiles, stream),
               partials.data(), tiles, statistics);
  const BranchNorms<A> norms{BranchPointers<const A>(branch_ports<void>(p, 1, in)),
                             BranchPointers<const A>(branch_ports<void>(p, 2, in)),
                             BranchPointers<const A>(branch_ports<void>(p, 1, out)),
                             BranchPointers<const A>(branch_ports<void>(p, 2, out)), A(-1)};
  const ColumnShape s = column_shape(1, p.rows(), p.c, V, simt::limits());
  simt::launch("mlrm.forward grouped, apply", &mlrm_apply<T, V>, columns_launch(s, stream), ports[0].as<T>(),
               BranchPointers<const T>(z), norms, static_cast<int>(p.branches), s,
               mlrm_forward_y(p, ports).as<T>());
}

}  // namespace

bool supports_mlrm_grouped(const MlrmProblem& p) { return supports_convolution(mlrm_convolution(p)); }

void mlrm_forward_training_grouped(const MlrmProblem& p, Ports ports, Stream stream) {
  visit_norm(p, ports,
             [&](auto zero, auto vector) { forward_training<decltype(zero), vector>(p, ports, stream); });
}

}  // namespace fovea::SIMT_WORLD
