// batch_norm forward by columns.
//
//   partial   mean and M2 of each channel over a part of the rows; x is read
//   merge     mean, 1/deviation and the running statistics of each channel, from its parts, in double
//   apply     y = act((x - mean) invstd gamma + beta); x is read again, y written
//
// Idea: threads lie along the channels with 16-byte vectors and walk down the rows with their channels' coefficients
// in registers (columns.hpp). Means and M2 of four rows at a time are merged pairwise, so no digits are lost over many
// rows or far from zero. Inference is apply alone, on the running statistics.
//
// Traffic: Cost's bytes, and x once more where it does not stay in the second-level cache; partials are 2 values for
// each part and channel. Launch: about four blocks of 256 threads for each multiprocessor, a block for 32 channels to
// merge. All sums in a fixed order.
#include "kernels/cuda/normalise.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    batch_norm_moments(const T* x, std::int64_t x_pitch, ColumnShape s, Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  ColumnMoments<V, A> moments;
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A values[B][V];
#pragma unroll
    for (int b = 0; b < B; ++b) load_as<V>(values[b], x + (row + b * share.step) * x_pitch + share.channel);
    moments.template add<B>(values);
  });
  merge_row_lanes(moments, share.lanes);
  store_partial(moments, share, s, partials);
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    batch_norm_apply(const T* x, std::int64_t x_pitch, ChannelInputs<Accumulator<T>> in, bool relu,
                     ColumnShape s, T* y, std::int64_t y_pitch) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const Normaliser<V, A> norm(in, share);
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A values[B][V];
#pragma unroll
    for (int b = 0; b < B; ++b) load_as<V>(values[b], x + (row + b * share.step) * x_pitch + share.channel);
#pragma unroll
    for (int b = 0; b < B; ++b) {
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const A z = norm.z(v, values[b][v] - norm.mean[v]);
        values[b][v] = relu && z < A(0) ? A(0) : z;  // NaN stays
      }
      store_as<V>(y + (row + b * share.step) * y_pitch + share.channel, values[b]);
    }
  });
}

template <class F>
void visit_columns(const BatchNormProblem& p, bool aligned, F&& f) {
  const std::int64_t vector = 16 / size_of(p.dtype);
  const bool whole =
      p.x_slice.begins_at_multiples(p.channels, vector) && p.y_slice.begins_at_multiples(p.channels, vector);
  visit_vector(p.dtype, p.channels, aligned && whole, std::forward<F>(f));
}

}  // namespace

bool supports_batch_norm_columns(const BatchNormProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.channels <= most / 64 && p.rows <= most && runs_here();
}

void batch_norm_forward_training_columns(const BatchNormProblem& p, Ports ports, Stream stream) {
  const bool aligned =
      aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[5].data, ports[6].data, ports[7].data});
  visit_columns(p, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const T* x = p.x_slice.first_of<T>(ports[0]);
    const std::int64_t x_pitch = p.x_slice.pitch(p.channels), y_pitch = p.y_slice.pitch(p.channels);
    const StatisticsOf<A> statistics{
        {{ports[6].as<A>(), ports[7].as<A>(), ports[3].as<A>(), ports[4].as<A>()}}, p.eps, p.momentum};
    const ChannelInputs<A> in{ports[1].as<A>(), ports[2].as<A>(), ports[6].as<A>(), ports[7].as<A>(), A(-1)};
    const ColumnShape s = column_shape(1, p.rows, p.channels, vector, simt::limits());
    const Scratch<A> partials(partial_count(s, 2), stream, "moments of the parts");
    simt::launch("batch_norm.forward_training columns, partial", &batch_norm_moments<T, vector>,
                 columns_launch(s, stream), x, x_pitch, s, partials.data());
    merge_statistics("batch_norm.forward_training columns, merge", partials.data(), s, statistics, stream);
    simt::launch("batch_norm.forward_training columns, apply", &batch_norm_apply<T, vector>,
                 columns_launch(s, stream), x, x_pitch, in, p.relu != 0, s, p.y_slice.first_of<T>(ports[5]),
                 y_pitch);
  });
}

void batch_norm_forward_inference_columns(const BatchNormProblem& p, Ports ports, Stream stream) {
  const bool aligned =
      aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[3].data, ports[4].data, ports[5].data});
  visit_columns(p, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const ChannelInputs<A> in{ports[1].as<A>(), ports[2].as<A>(), ports[3].as<A>(), ports[4].as<A>(),
                              A(p.eps)};
    const ColumnShape s = column_shape(1, p.rows, p.channels, vector, simt::limits());
    simt::launch("batch_norm.forward_inference columns", &batch_norm_apply<T, vector>,
                 columns_launch(s, stream), p.x_slice.first_of<T>(ports[0]), p.x_slice.pitch(p.channels), in,
                 p.relu != 0, s, p.y_slice.first_of<T>(ports[5]), p.y_slice.pitch(p.channels));
  });
}

}  // namespace fovea::SIMT_WORLD
