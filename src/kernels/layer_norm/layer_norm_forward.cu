// layer_norm forward, a warp for each row.
//
//   mean, then the sum of squares around it, then y = (x - mean) rstd gamma + beta
//
// Idea: the row lies in the registers of a warp, 16 bytes to a lane at a time, so that three walks over it read memory
// once and the two sums need shuffles alone. Rows of more than 8 vectors a lane (1024 floats) are walked in memory, that
// is in the first two caches, three times.
//
// Traffic: Cost's bytes; gamma and beta come from the first cache. Launch: eight warps to a block, at most 16 blocks for
// each multiprocessor. Sums in a fixed order: at most 64 values of a lane, then a tree; of longer rows in double.
#include "kernels/layer_norm/kernels.hpp"
#include "kernels/layer_norm/layer_norm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// Null: not wanted.
template <class A>
struct RowStatistics {
  A *mean, *rstd;
};

template <class T, int V, int held>
__global__ void __launch_bounds__(row_threads, row_blocks_at_once)
    layer_norm_rows(const T* x, const Accumulator<T>* gamma, const Accumulator<T>* beta, std::int64_t rows,
                    int channels, double eps, T* y, RowStatistics<Accumulator<T>> out) {
  using A = Accumulator<T>;
  using Row = WarpRow<T, V, 1, held>;
  using Sum = typename Row::Sum;
  for_each_row(rows, [&](std::int64_t r) {
    Row row({x}, r * channels, channels);
    Sum sum = Sum(0), squares = Sum(0);
    row.each([&](int, const A(&values)[1][V]) { sum += Sum(sum_of<V>(values[0])); });
    const A mean = A(simt::warp_sum(sum) / Sum(channels));
    row.each([&](int, const A(&values)[1][V]) {
      A square[V];
#pragma unroll
      for (int v = 0; v < V; ++v) square[v] = (values[0][v] - mean) * (values[0][v] - mean);
      squares += Sum(sum_of<V>(square));
    });
    const A rstd = A(Sum(1) / std::sqrt(simt::warp_sum(squares) / Sum(channels) + Sum(eps)));
    row.each([&](int c, const A(&values)[1][V]) {
      A scale[V], shift[V];
      load_values<V>(scale, gamma + c);
      load_values<V>(shift, beta + c);
#pragma unroll
      for (int v = 0; v < V; ++v) shift[v] += (values[0][v] - mean) * rstd * scale[v];
      store_as<V>(y + r * channels + c, shift);
    });
    if (simt::lane() != 0) return;
    if (out.mean != nullptr) out.mean[r] = mean;
    if (out.rstd != nullptr) out.rstd[r] = rstd;
  });
}

}  // namespace

bool supports_layer_norm_warp_rows(const LayerNormProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.channels <= most / 64 && p.rows <= most && runs_here();
}

void layer_norm_forward_warp_rows(const LayerNormProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[3].data});
  visit_vector(p.dtype, p.channels, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    visit_held<vector, 8>(p.channels, [&](auto held) {
      simt::launch("layer_norm.forward warp_rows", &layer_norm_rows<T, vector, held>,
                   rows_launch(p.rows, stream), ports[0].as<T>(), ports[1].as<A>(), ports[2].as<A>(), p.rows,
                   static_cast<int>(p.channels), p.eps, ports[3].as<T>(),
                   RowStatistics<A>{ports[4].as<A>(), ports[5].as<A>()});
    });
  });
}

}  // namespace fovea::SIMT_WORLD
