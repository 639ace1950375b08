// layer_norm backward: dx by a warp for each row, dgamma and dbeta by columns.
//
//   rows      g = dy gamma, h = (x - mean) rstd; their sums; dx = rstd (g - mean g - h mean gh)
//   columns   sums of dy h and dy over a part of the rows (columns.hpp)
//   merge     dgamma and dbeta from their parts, in double
//
// Idea: x and dy of a row lie in the registers of a warp, as forward. The column sums are a kernel of their own: in the
// registers of a warp they would leave no room for rows of 768 channels. It comes first, as dx may be dy.
//
// Traffic: Cost's bytes, and x and dy once more where they do not stay in the second-level cache. Launch: as forward;
// about four blocks of 256 threads for each multiprocessor; a block for 32 channels to merge. All sums in a fixed order.
#include "kernels/cuda/columns.hpp"
#include "kernels/layer_norm/kernels.hpp"
#include "kernels/layer_norm/layer_norm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    layer_norm_column_sums(const T* x, const T* dy, const Accumulator<T>* mean, const Accumulator<T>* rstd,
                           ColumnShape s, Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  ColumnSums<2, V, A> sums;
  for_each_rows<2>(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A product[B][V], gradient[B][V];
    const std::int64_t at = row * s.channels + share.channel, stride = share.step * s.channels;
#pragma unroll
    for (int b = 0; b < B; ++b) {
      load_as<V>(product[b], x + at + b * stride);
      load_as<V>(gradient[b], dy + at + b * stride);
    }
#pragma unroll
    for (int b = 0; b < B; ++b) {
      const A centre = mean[row + b * share.step], scale = rstd[row + b * share.step];
#pragma unroll
      for (int v = 0; v < V; ++v) product[b][v] = gradient[b][v] * ((product[b][v] - centre) * scale);
    }
    sums.template add<B>(0, product);
    sums.template add<B>(1, gradient);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

template <class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    layer_norm_column_merge(const A* partials, ColumnShape s, A* dgamma, A* dbeta) {
  merge_sums<2>(partials, s, [&](std::int64_t, std::int64_t c, const double(&sums)[2]) {
    dgamma[c] = A(sums[0]);
    dbeta[c] = A(sums[1]);
  });
}

template <class T, int V, int held>
__global__ void __launch_bounds__(row_threads, row_blocks_at_once)
    layer_norm_row_gradients(const T* x, const T* dy, const Accumulator<T>* gamma, const Accumulator<T>* mean,
                             const Accumulator<T>* rstd, std::int64_t rows, int channels, T* dx) {
  using A = Accumulator<T>;
  using Row = WarpRow<T, V, 2, held>;
  using Sum = typename Row::Sum;
  for_each_row(rows, [&](std::int64_t r) {
    Row row({x, dy}, r * channels, channels);
    const A centre = mean[r], scale = rstd[r];
    Sum sum = Sum(0), product_sum = Sum(0);
    row.each([&](int c, const A(&values)[2][V]) {
      A g[V], product[V];
      load_values<V>(g, gamma + c);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        g[v] *= values[1][v];
        product[v] = g[v] * ((values[0][v] - centre) * scale);
      }
      sum += Sum(sum_of<V>(g));
      product_sum += Sum(sum_of<V>(product));
    });
    const A mean_g = A(simt::warp_sum(sum) / Sum(channels));
    const A mean_gh = A(simt::warp_sum(product_sum) / Sum(channels));
    row.each([&](int c, const A(&values)[2][V]) {
      A out[V];
      load_values<V>(out, gamma + c);
#pragma unroll
      for (int v = 0; v < V; ++v)
        out[v] = scale * (out[v] * values[1][v] - mean_g - (values[0][v] - centre) * scale * mean_gh);
      store_as<V>(dx + r * channels + c, out);
    });
  });
}

template <class T, int V>
void column_gradients(const LayerNormProblem& p, Ports ports, Stream stream) {
  using A = Accumulator<T>;
  const ColumnShape s = column_shape(1, p.rows, p.channels, V, simt::limits());
  const Scratch<A> partials(partial_count(s, 2), stream, "gradient sums of the parts");
  simt::launch("layer_norm.backward warp_rows, columns", &layer_norm_column_sums<T, V>,
               columns_launch(s, stream), ports[0].as<T>(), ports[1].as<T>(), ports[3].as<A>(),
               ports[4].as<A>(), s, partials.data());
  simt::launch("layer_norm.backward warp_rows, merge", &layer_norm_column_merge<A>, merge_launch(s, stream),
               partials.data(), s, ports[6].as<A>(), ports[7].as<A>());
}

}  // namespace

void layer_norm_backward_warp_rows(const LayerNormProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[5].data});
  visit_vector(p.dtype, p.channels, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    column_gradients<T, vector>(p, ports, stream);
    constexpr int most = vector == 8 ? 4 : 8;  // two tensors: 64 registers
    visit_held<vector, most>(p.channels, [&](auto held) {
      simt::launch("layer_norm.backward warp_rows", &layer_norm_row_gradients<T, vector, held>,
                   rows_launch(p.rows, stream), ports[0].as<T>(), ports[1].as<T>(), ports[2].as<A>(),
                   ports[3].as<A>(), ports[4].as<A>(), p.rows, static_cast<int>(p.channels),
                   ports[5].as<T>());
    });
  });
}

}  // namespace fovea::SIMT_WORLD
