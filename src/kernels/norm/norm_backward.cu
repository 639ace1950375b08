// batch_norm backward by columns. With d = x - mean and g = dy where z > 0 (or everywhere):
//
//   partial   sums of g and g d of each channel over a part of the rows; x and dy are read
//   merge     dbeta and dgamma = invstd sum(g d), in double
//   apply     dx = gamma invstd (g - dbeta / R - d invstd dgamma / R); x and dy are read again, dx written
//
// Idea: as forward; the mask is computed again from x. With running statistics dx needs no sums, so the partial kernel
// writes it and there is no third one.
//
// Traffic: Cost's bytes, and x and dy once more where they do not stay in the second-level cache. Launch: as forward.
// All sums in a fixed order. dx may be dy: a thread writes what it alone has read.
#include "kernels/norm/norm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// g and d of B rows of V channels. Both tensors are loaded before either is used.
template <class T, int V, int B>
struct Gradients {
  using A = Accumulator<T>;
  A g[B][V], d[B][V];
  __device__ __forceinline__ Gradients(const T* x, const T* dy, std::int64_t stride,
                                       const Normaliser<V, A>& norm, bool relu) {
#pragma unroll
    for (int b = 0; b < B; ++b) {
      load_as<V>(d[b], x + b * stride);
      load_as<V>(g[b], dy + b * stride);
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

// The sums of a part; with `direct` also dx, which the sums do not change.
template <class T, int V, bool direct>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    batch_norm_gradient_sums(const T* x, const T* dy, ChannelInputs<Accumulator<T>> in, bool relu,
                             ColumnShape s, Accumulator<T>* partials, T* dx) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const Normaliser<V, A> norm(in, share);
  ColumnSums<2, V, A> sums;
  for_each_rows<rows_at_once<V>>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    const std::int64_t at = row * s.channels + share.channel, stride = share.step * s.channels;
    Gradients<T, V, B> t(x + at, dy + at, stride, norm, relu);
    sums.template add<B>(0, t.g);
#pragma unroll
    for (int b = 0; b < B; ++b) {
      A out[V];
#pragma unroll
      for (int v = 0; v < V; ++v) {
        out[v] = norm.scale[v] * t.g[b][v];
        t.d[b][v] *= t.g[b][v];
      }
      if constexpr (direct) store_as<V>(dx + at + b * stride, out);
    }
    sums.template add<B>(1, t.d);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

// `spread` and `eps` as in ChannelInputs.
template <class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    batch_norm_gradient_merge(const A* partials, ColumnShape s, const A* spread, double eps, A* dgamma,
                              A* dbeta) {
  merge_sums<2>(partials, s, [&](std::int64_t, std::int64_t c, const double(&sums)[2]) {
    const double invstd = eps >= 0 ? inverse_deviation(double(spread[c]), eps) : double(spread[c]);
    dbeta[c] = A(sums[0]);
    dgamma[c] = A(sums[1] * invstd);
  });
}

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    batch_norm_gradient_apply(const T* x, const T* dy, ChannelInputs<Accumulator<T>> in, bool relu,
                              ColumnShape s, const Accumulator<T>* dgamma, const Accumulator<T>* dbeta,
                              T* dx) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const Normaliser<V, A> norm(in, share);
  A through_mean[V] = {}, through_spread[V] = {};
  if (share.active) {
    load_values<V>(through_mean, dbeta + share.channel);
    load_values<V>(through_spread, dgamma + share.channel);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      through_mean[v] /= A(s.rows);
      through_spread[v] *= norm.invstd[v] / A(s.rows);
    }
  }
  for_each_rows<rows_at_once<V>>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    const std::int64_t at = row * s.channels + share.channel, stride = share.step * s.channels;
    Gradients<T, V, B> t(x + at, dy + at, stride, norm, relu);
#pragma unroll
    for (int b = 0; b < B; ++b) {
      A out[V];
#pragma unroll
      for (int v = 0; v < V; ++v)
        out[v] = norm.scale[v] * (t.g[b][v] - through_mean[v] - t.d[b][v] * through_spread[v]);
      store_as<V>(dx + at + b * stride, out);
    }
  });
}

// `eps` as in ChannelInputs: not negative where statistics are constants.
void backward(const BatchNormProblem& p, Ports ports, double eps, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[3].data, ports[4].data,
                                   ports[5].data, ports[6].data, ports[7].data, ports[8].data});
  visit_vector(p.dtype, p.channels, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const T *x = ports[0].as<T>(), *dy = ports[1].as<T>();
    const ChannelInputs<A> in{ports[2].as<A>(), ports[3].as<A>(), ports[4].as<A>(), ports[5].as<A>(), A(eps)};
    T* dx = ports[6].as<T>();
    A *dgamma = ports[7].as<A>(), *dbeta = ports[8].as<A>();
    const bool relu = p.relu != 0, direct = eps >= 0;
    const ColumnShape s = column_shape(1, p.rows, p.channels, vector, simt::limits());
    const Scratch<A> partials(partial_count(s, 2), stream, "gradient sums of the parts");
    simt::launch(
        "batch_norm.backward columns, partial",
        direct ? &batch_norm_gradient_sums<T, vector, true> : &batch_norm_gradient_sums<T, vector, false>,
        columns_launch(s, stream), x, dy, in, relu, s, partials.data(), dx);
    simt::launch("batch_norm.backward columns, merge", &batch_norm_gradient_merge<A>, merge_launch(s, stream),
                 partials.data(), s, in.spread, eps, dgamma, dbeta);
    if (!direct) {
      simt::launch("batch_norm.backward columns, apply", &batch_norm_gradient_apply<T, vector>,
                   columns_launch(s, stream), x, dy, in, relu, s, dgamma, dbeta, dx);
    }
  });
}

}  // namespace

void batch_norm_backward_columns(const BatchNormProblem& p, Ports ports, Stream stream) {
  backward(p, ports, -1, stream);
}

void batch_norm_backward_inference_columns(const BatchNormProblem& p, Ports ports, Stream stream) {
  backward(p, ports, p.eps, stream);
}

}  // namespace fovea::SIMT_WORLD
