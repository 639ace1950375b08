// Statistics from moments, and the gradients of a normalisation: see normalise.hpp.
//
//   sums    of g and g d of each channel over a part of the rows; x and dy are read
//   merge   dbeta and dgamma, in double
//   apply   dx; x and dy are read again, dx written
//
// Idea: threads lie along the channels with 16-byte vectors and walk down the rows with their channels' coefficients
// in registers (columns.hpp); the mask is computed again from x. With constant statistics dx needs no sums, so the first
// kernel writes it and there is no third one.
//
// Rows of x, dx and dy may lie further apart than their channels (slices of images), and dx may be added to, in place.
//
// Traffic: for each tensor two reads of x and dy and one write of dx; one read each with constant statistics; one more
// of dx that is added to. Launch:
// about four blocks of 256 threads for each multiprocessor, a block for 32 channels to merge. All sums in a fixed order.
#include "kernels/cuda/normalise.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    statistics_merge(const A* partials, ColumnShape s, const __grid_constant__ StatisticsOf<A> all) {
  merge_moments(partials, s, [&](std::int64_t matrix, std::int64_t c, double mean, double m2) {
    const ChannelStatistics<A>& t = all.at[matrix];
    const auto rows = double(s.rows);
    t.mean[c] = A(mean);
    t.invstd[c] = A(inverse_deviation(m2 / rows, all.eps));
    t.running_mean[c] = A((1 - all.momentum) * double(t.running_mean[c]) + all.momentum * mean);
    t.running_var[c] = A((1 - all.momentum) * double(t.running_var[c]) + all.momentum * m2 / (rows - 1));
  });
}

/// g and d of B rows of V channels. Both tensors are loaded before either is used.
template <class T, int V, int B>
struct Gradients {
  using A = Accumulator<T>;
  A g[B][V], d[B][V];
  __device__ __forceinline__ Gradients(const T* x, std::int64_t x_stride, const T* dy, std::int64_t dy_stride,
                                       const Normaliser<V, A>& norm, bool relu) {
#pragma unroll
    for (int b = 0; b < B; ++b) {
      load_as<V>(d[b], x + b * x_stride);
      load_as<V>(g[b], dy + b * dy_stride);
    }
#pragma unroll
    for (int b = 0; b < B; ++b) {
#pragma unroll
      for (int v = 0; v < V; ++v) {
        d[b][v] -= norm.mean[v];
        if (relu && norm.z(v, d[b][v]) <= A(0)) g[b][v] = A(0);  // NaN passes
      }
    }
  }
};

/// Two tensors of eight channels a row, and the coefficients: more rows would spill.
template <int V>
constexpr int rows_at_once = V == 8 ? 2 : 4;

/// Where a thread of a matrix begins in its tensor, whose rows are `pitch` apart.
template <int V>
__device__ __forceinline__ std::int64_t in_tensor(const ColumnShare<V>& share, const ColumnShape& s,
                                                  std::int64_t row, std::int64_t pitch) {
  return (row - share.matrix * s.rows) * pitch + share.channel;
}

/// dx = values, or dx += values.
template <int V, class T, class A>
__device__ __forceinline__ void write_dx(T* dx, A (&values)[V], bool accumulate) {
  if (accumulate) {
    A before[V];
    load_as<V>(before, dx);
#pragma unroll
    for (int v = 0; v < V; ++v) values[v] += before[v];
  }
  store_as<V>(dx, values);
}

// The sums of a part; with `direct` also dx, which the sums do not change.
template <class T, int V, bool direct>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    gradient_sums(const __grid_constant__ NormGradients<T> all, ColumnShape s, Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const NormGradient<T>& tensor = all.at[share.matrix];
  const Normaliser<V, A> norm(tensor.in, share);
  const std::int64_t stride = share.step * all.x_pitch, dy_stride = share.step * all.dy_pitch;
  ColumnSums<2, V, A> sums;
  for_each_rows<rows_at_once<V>>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    const std::int64_t at = in_tensor(share, s, row, all.x_pitch);
    Gradients<T, V, B> t(tensor.x + at, stride, tensor.dy + in_tensor(share, s, row, all.dy_pitch), dy_stride,
                         norm, all.relu);
    sums.template add<B>(0, t.g);
#pragma unroll
    for (int b = 0; b < B; ++b) {
      A out[V];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        out[v] = norm.scale[v] * t.g[b][v];
        t.d[b][v] *= t.g[b][v];
      }
      if constexpr (direct) write_dx<V>(tensor.dx + at + b * stride, out, all.accumulate);
    }
    sums.template add<B>(1, t.d);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

template <class T>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    gradient_merge(const Accumulator<T>* partials, ColumnShape s,
                   const __grid_constant__ NormGradients<T> all) {
  using A = Accumulator<T>;
  merge_sums<2>(partials, s, [&](std::int64_t matrix, std::int64_t c, const double(&sums)[2]) {
    const NormGradient<T>& t = all.at[matrix];
    const double spread = double(t.in.spread[c]), eps = double(t.in.eps);
    t.dbeta[c] = A(sums[0]);
    t.dgamma[c] = A(sums[1] * (eps >= 0 ? inverse_deviation(spread, eps) : spread));
  });
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    gradient_apply(const __grid_constant__ NormGradients<T> all, ColumnShape s) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const NormGradient<T>& tensor = all.at[share.matrix];
  const Normaliser<V, A> norm(tensor.in, share);
  const std::int64_t stride = share.step * all.x_pitch, dy_stride = share.step * all.dy_pitch;
  A through_mean[V] = {}, through_spread[V] = {};
  if (share.active) {
    load_values<V>(through_mean, tensor.dbeta + share.channel);
    load_values<V>(through_spread, tensor.dgamma + share.channel);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      through_mean[v] /= A(s.rows);
      through_spread[v] *= norm.invstd[v] / A(s.rows);
    }
  }
  for_each_rows<rows_at_once<V>>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    const std::int64_t at = in_tensor(share, s, row, all.x_pitch);
    Gradients<T, V, B> t(tensor.x + at, stride, tensor.dy + in_tensor(share, s, row, all.dy_pitch), dy_stride,
                         norm, all.relu);
#pragma unroll
    for (int b = 0; b < B; ++b) {
      A out[V];
#pragma unroll
      for (int v = 0; v < V; ++v)
        out[v] = norm.scale[v] * (t.g[b][v] - through_mean[v] - t.d[b][v] * through_spread[v]);
      write_dx<V>(tensor.dx + at + b * stride, out, all.accumulate);
    }
  });
}

}  // namespace

template <class A>
void merge_statistics(const simt::LaunchName& name, const A* partials, const ColumnShape& parts,
                      const StatisticsOf<A>& statistics, Stream stream) {
  simt::launch(name, &statistics_merge<A>, merge_launch(parts, stream), partials, parts, statistics);
}

template <class T>
void normalise_backward(const simt::LaunchName& name, const NormGradients<T>& t, std::int64_t tensors,
                        std::int64_t rows, std::int64_t channels, Stream stream) {
  using A = Accumulator<T>;
  const auto with = [&](auto vector) {
    constexpr int V = vector.value;
    const ColumnShape s = column_shape(tensors, rows, channels, V, simt::limits());
    const Scratch<A> partials(partial_count(s, 2), stream, "gradient sums of the parts");
    simt::launch(name, t.constant ? &gradient_sums<T, V, true> : &gradient_sums<T, V, false>,
                 columns_launch(s, stream), t, s, partials.data());
    simt::launch(name, &gradient_merge<T>, merge_launch(s, stream), partials.data(), s, t);
    if (!t.constant) simt::launch(name, &gradient_apply<T, V>, columns_launch(s, stream), t, s);
  };
  if (t.aligned && channels % vector_of<T> == 0) {
    with(std::integral_constant<int, vector_of<T>>{});
  } else {
    with(std::integral_constant<int, 1>{});
  }
}

template void merge_statistics(const simt::LaunchName&, const float*, const ColumnShape&,
                               const StatisticsOf<float>&, Stream);
template void merge_statistics(const simt::LaunchName&, const double*, const ColumnShape&,
                               const StatisticsOf<double>&, Stream);
#define FOVEA_NORMALISE(T)                                                                         \
  template void normalise_backward(const simt::LaunchName&, const NormGradients<T>&, std::int64_t, \
                                   std::int64_t, std::int64_t, Stream);
FOVEA_NORMALISE(float)
FOVEA_NORMALISE(double)
FOVEA_NORMALISE(simt::bf16)

}  // namespace fovea::SIMT_WORLD
