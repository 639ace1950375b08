// scale_residual forward and backward by columns.
//
//   forward    y = x + s_n gamma_c f
//   backward   df = s_n gamma_c dy, and the partial sums of s_n f dy; then dgamma from the parts, in double
//
// Idea: the matrices of the column shape (columns.hpp) are the samples, so that s_n is one number for each block, which
// every thread draws for itself (Philox, once), and gamma lies in registers while the thread walks down the rows with
// 16-byte vectors. Of a sample that is dropped f is not read.
//
// Traffic: Cost's bytes; partials are a value for each part and channel. Launch: about four blocks of 256 threads for each
// multiprocessor, at least one for each sample. All sums in a fixed order: at most 256 rows of a thread, a tree over the
// block, parts in double.
#include "kernels/cuda/columns.hpp"
#include "kernels/cuda/philox.hpp"
#include "kernels/pointwise/pointwise_shape.hpp"
#include "kernels/pointwise/scale_residual_kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// How s is drawn.
template <class A>
struct Draw {
  const std::int64_t* key;  // null: every s is 1
  std::uint64_t threshold;
  A scale;
};

template <class A>
__device__ __forceinline__ A branch_scale(const Draw<A>& draw, std::int64_t sample) {
  if (draw.key == nullptr) return A(1);
  const PhiloxWords words = random_words(draw.key, static_cast<std::uint64_t>(sample / 4));
  std::uint32_t word = words.at[0];
#pragma unroll
  for (int i = 1; i < 4; ++i) word = sample % 4 == i ? words.at[i] : word;
  return word >= draw.threshold ? draw.scale : A(0);
}

/// s gamma of this thread's channels.
template <int V, class A>
__device__ __forceinline__ void load_scaled(A (&scaled)[V], const A* gamma, const ColumnShare<V>& share,
                                            A s) {
  if (!share.active) return;
  load_values<V>(scaled, gamma + share.channel);
#pragma unroll
  for (int v = 0; v < V; ++v) scaled[v] *= s;
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    scale_residual_rows(const T* x, const T* f, const Accumulator<T>* gamma, Draw<Accumulator<T>> draw,
                        ColumnShape s, T* y) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const A scale = branch_scale(draw, share.matrix);
  A scaled[V] = {};
  load_scaled(scaled, gamma, share, scale);
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A values[B][V] = {}, branch[B][V] = {};
    const std::int64_t at = row * s.channels + share.channel, stride = share.step * s.channels;
#pragma unroll
    for (int b = 0; b < B; ++b) {
      load_as<V>(values[b], x + at + b * stride);
      if (scale != A(0)) load_as<V>(branch[b], f + at + b * stride);
    }
#pragma unroll
    for (int b = 0; b < B; ++b) {
#pragma unroll
      for (int v = 0; v < V; ++v) values[b][v] += scaled[v] * branch[b][v];
      store_as<V>(y + at + b * stride, values[b]);
    }
  });
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    scale_residual_gradients(const T* f, const Accumulator<T>* gamma, Draw<Accumulator<T>> draw, const T* dy,
                             ColumnShape s, T* df, Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const A scale = branch_scale(draw, share.matrix);
  A scaled[V] = {};
  load_scaled(scaled, gamma, share, scale);
  ColumnSums<1, V, A> sums;
  for_each_rows<2>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A gradient[B][V] = {}, product[B][V] = {};
    const std::int64_t at = row * s.channels + share.channel, stride = share.step * s.channels;
#pragma unroll
    for (int b = 0; b < B; ++b) {
      if (scale == A(0)) continue;
      load_as<V>(gradient[b], dy + at + b * stride);
      load_as<V>(product[b], f + at + b * stride);
    }
#pragma unroll
    for (int b = 0; b < B; ++b) {
      A out[V];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        product[b][v] *= scale * gradient[b][v];
        out[v] = scaled[v] * gradient[b][v];
      }
      store_as<V>(df + at + b * stride, out);
    }
    sums.template add<B>(0, product);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

template <class A>
Draw<A> draw_of(const ScaleResidualProblem& p, const View& key) {
  return {key.as<std::int64_t>(), dropout_threshold(p.p), A(dropout_scale(p.p))};
}

}  // namespace

// Counts of 32 bits, on grids that can be launched.
bool supports_scale_residual_columns(const ScaleResidualProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.channels <= most / 64 && p.rows <= most &&
         on_this_machine([&](const simt::Limits& limits) {
           const ColumnShape s = column_shape(p.samples, p.rows, p.channels, 1, limits);
           return fits_launch(s) && p.samples * s.parts <= most ? std::optional(true) : std::nullopt;
         }).has_value();
}

void scale_residual_forward_columns(const ScaleResidualProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[4].data});
  visit_vector(p.dtype, p.channels, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const ColumnShape s = column_shape(p.samples, p.rows, p.channels, vector, simt::limits());
    simt::launch("scale_residual.forward columns", &scale_residual_rows<T, vector>, columns_launch(s, stream),
                 ports[0].as<T>(), ports[1].as<T>(), ports[2].as<A>(), draw_of<A>(p, ports[3]), s,
                 ports[4].as<T>());
  });
}

void scale_residual_backward_columns(const ScaleResidualProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[3].data, ports[4].data});
  visit_vector(p.dtype, p.channels, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const ColumnShape s = column_shape(p.samples, p.rows, p.channels, vector, simt::limits());
    const Scratch<A> partials(partial_count(s, 1), stream, "sums of the parts");
    simt::launch("scale_residual.backward columns", &scale_residual_gradients<T, vector>,
                 columns_launch(s, stream), ports[0].as<T>(), ports[1].as<A>(), draw_of<A>(p, ports[2]),
                 ports[3].as<T>(), s, ports[4].as<T>(), partials.data());
    // The parts of all samples are those of one matrix.
    const ColumnShape merge{.channels = p.channels, .parts = static_cast<int>(p.samples * s.parts)};
    simt::launch("scale_residual.backward columns, merge", &column_sums_merge<A, A>,
                 merge_launch(merge, stream), partials.data(), merge, 1.0, ports[5].as<A>());
  });
}

}  // namespace fovea::SIMT_WORLD
