// mlrm forward, in training: the dilated convolutions as one grouped product, then one pass that normalises.
//
//   convolve    z_b of all branches, and mean and M2 of each channel over each tile of pixels; x and the filters are
//               read, z_b written
//   merge       mean and invstd of each branch from the tiles, in order (Chan); running statistics
//   apply       y = x + sum_b relu( (z_b - mean_b) gamma_b invstd_b + beta_b ); x and z_b are read, y written
//
// Idea: the branches share their input, so one launch has the blocks of all of them. The statistics come from the sums
// in the registers, so z is not read for them, and normalisation, ReLU, the sum of the branches and the residual are one
// pass.
//
// Traffic: with B branches, B + 1 images for the convolutions, B + 2 for the last pass: Cost's bytes, but z_b once more
// and x once more (forward must write z_b for the backward anyway). Launch: see convolution_forward.cu and columns.hpp.
#include "kernels/cuda/convolution_device.hpp"
#include "kernels/mlrm/mlrm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// Channels a thread takes: 16 bytes of the small tensors, since the coefficients of all branches stay in registers.
template <class T>
constexpr int apply_vector = vector_of<Accumulator<T>>;

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    mlrm_apply(const T* x, const __grid_constant__ MlrmBranches<T> branches, ColumnShape s, T* y) {
  using A = Accumulator<T>;
  constexpr int most = MlrmProblem::max_branches;
  const ColumnShare<V> share(s);
  Normaliser<V, A> norm[most];
#pragma unroll
  for (int b = 0; b < most; ++b) {
    if (b < branches.count) norm[b].load(branches.at[b].norm, share);
  }
  for_each_rows<2>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    const std::int64_t at = row * s.channels + share.channel, stride = share.step * s.channels;
    A sum[B][V];
#pragma unroll
    for (int r = 0; r < B; ++r) load_as<V>(sum[r], x + at + r * stride);
#pragma unroll
    for (int b = 0; b < most; ++b) {
      if (b >= branches.count) continue;
      A z[B][V];
#pragma unroll
      for (int r = 0; r < B; ++r) load_as<V>(z[r], branches.at[b].source + at + r * stride);
#pragma unroll
      for (int r = 0; r < B; ++r) {
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const A normalised = norm[b].z(v, z[r][v] - norm[b].mean[v]);
          sum[r][v] += normalised < A(0) ? A(0) : normalised;  // NaN stays
        }
      }
    }
#pragma unroll
    for (int r = 0; r < B; ++r) store_as<V>(y + at + r * stride, sum[r]);
  });
}

/// Where each branch's ports lie.
template <class T>
struct TrainingBranches {
  MlrmBranches<T> normalised;
  StatisticsOf<Accumulator<T>> statistics;
  TrainingBranches(const MlrmProblem& p, Ports ports) {
    using A = Accumulator<T>;
    normalised.count = p.branches;
    statistics.eps = p.eps;
    statistics.momentum = p.momentum;
    for (std::int64_t b = 0; b < p.branches; ++b) {
      const Ports in = mlrm_forward_in(ports, b), out = mlrm_forward_out(p, ports, b);
      statistics.at[b] = {out[1].as<A>(), out[2].as<A>(), in[3].as<A>(), in[4].as<A>()};
      normalised.at[b] = {out[0].as<T>(),
                          {in[1].as<A>(), in[2].as<A>(), out[1].as<A>(), out[2].as<A>(), A(-1)}};
    }
  }
};

ColumnShape tiles_of_statistics(const MlrmProblem& p, std::int64_t tile) {
  ColumnShape tiles;
  tiles.matrices = p.branches;
  tiles.rows = p.rows();
  tiles.channels = p.c;
  tiles.rows_per_part = tile;
  tiles.parts = static_cast<int>(tiles_of(p.rows(), tile));
  return tiles;
}

template <class T>
void forward_training(const MlrmProblem& p, Ports ports, Stream stream) {
  using A = Accumulator<T>;
  const Convolution convolution = mlrm_convolution(p);
  const Scratch<A> partials(tiles_of(p.rows(), least_tile_rows) * p.branches * 2 * p.c, stream,
                            "statistics of the tiles");
  const std::int64_t tile =
      convolve(convolution, ports[0].data,
               branch_ports<const void>(p, 0, [&](std::int64_t b) { return mlrm_forward_in(ports, b); }),
               branch_ports<void>(p, 0, [&](std::int64_t b) { return mlrm_forward_out(p, ports, b); }),
               {.statistics = partials.data()}, stream);
  const TrainingBranches<T> branches(p, ports);
  merge_statistics("mlrm.forward grouped, merge", partials.data(), tiles_of_statistics(p, tile),
                   branches.statistics, stream);
  const bool whole = p.c % apply_vector<T> == 0 && aligned_16(ports);
  const ColumnShape s = column_shape(1, p.rows(), p.c, whole ? apply_vector<T> : 1, simt::limits());
  simt::launch("mlrm.forward grouped, apply", whole ? &mlrm_apply<T, apply_vector<T>> : &mlrm_apply<T, 1>,
               columns_launch(s, stream), ports[0].as<T>(), branches.normalised, s,
               mlrm_forward_y(p, ports).as<T>());
}

}  // namespace

bool supports_mlrm_grouped(const MlrmProblem& p) { return supports_convolution(mlrm_convolution(p)); }

void mlrm_forward_training_grouped(const MlrmProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) { forward_training<decltype(zero)>(p, ports, stream); });
}

}  // namespace fovea::SIMT_WORLD
