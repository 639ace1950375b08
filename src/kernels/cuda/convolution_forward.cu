// Convolution, forward: see convolution.hpp.
//
//   z_b[pixel, k] = sum_{tap, c} x[pixel at tap of b, c] w_b[k, tap, c]       y_b = act( z_b + bias )
//
// Idea: a block makes Tile::m pixels x Tile::n filters of one branch and group. The pixels' channels and the filters
// arrive by cp.async while the tensor cores multiply the step before (tile_gemm.hpp); taps that lie in the padding
// for all pixels of a tile are left out (convolution_device.hpp). On the way out the sums pass through shared memory,
// so that rows are written 16 bytes a thread, and where batch statistics are wanted each channel's mean and sum of
// squared deviations over the tile are taken from the sums themselves, before y is rounded.
//
// Traffic: x and the filters once from memory where they fit the second-level cache, y once. Through the cache x is
// read K / Tile::n times a tap, the filters pixels / Tile::m times.
// Launch: (tiles of pixels, tiles of filters, branches x groups) blocks of Tile::threads threads.
#include <algorithm>

#include "kernels/cuda/convolution_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T>
struct ForwardArguments {
  Gather gather;
  TapAxes axes[Convolution::max_branches];
  const T *x, *w[Convolution::max_branches];
  T* y[Convolution::max_branches];
  const Accumulator<T>* bias;
  Accumulator<T>* statistics;
  int groups, group_filters, y_pitch;
  bool relu;
};

/// Mean and squared deviations of each of the tile's channels over its rows; `to`: the tile's means, then a pitch of
/// `filters` further its deviations.
template <class Tile, class A>
__device__ __forceinline__ void write_statistics(OutTile<Tile>& out, int rows, int columns, A* to,
                                                 int filters) {
  for (int n = static_cast<int>(threadIdx.x); n < columns; n += Tile::threads) {
    A sum = A(0), squares = A(0);
    for (int m = 0; m < rows; ++m) sum += out.row(m)[n];
    const A mean = sum / A(rows);
    for (int m = 0; m < rows; ++m) {
      const A d = out.row(m)[n] - mean;
      squares += d * d;
    }
    to[n] = mean;
    to[filters + n] = squares;
  }
}

template <class Tile, int V, class T = typename Tile::type>
__global__ void __launch_bounds__(Tile::threads, tile_blocks_at_once<Tile>)
    convolution_forward(const __grid_constant__ ForwardArguments<T> a) {
  using A = Accumulator<T>;
  auto& shared = simt::shared<ForwardShared<Tile>>();
  const Gather& g = a.gather;
  const int first_row = static_cast<int>(blockIdx.x) * Tile::m,
            first_filter = static_cast<int>(blockIdx.y) * Tile::n;
  const int branch = static_cast<int>(blockIdx.z) / a.groups, group = static_cast<int>(blockIdx.z) % a.groups;
  const int filters = a.groups * a.group_filters, columns = min(Tile::n, a.group_filters - first_filter);
  const int filter = group * a.group_filters + first_filter;

  list_rows<Tile>(shared.rows, g, first_row);
  Accumulators<Tile> sums;
  clear(sums);
  accumulate_forward<Tile, V>(shared, g, a.axes[branch], first_row, a.x + group * g.channels,
                              a.w[branch] + static_cast<std::size_t>(filter) * (g.r * g.s * g.channels),
                              columns, sums);
  OutTile<Tile>& out = shared.tile.out;
  put<Tile>(out, sums);
  __syncthreads();

  const int rows = min(Tile::m, g.rows - first_row);
  if (a.statistics != nullptr) {
    const std::size_t tile = branch * gridDim.x + blockIdx.x;
    write_statistics<Tile>(out, rows, columns, a.statistics + tile * 2 * filters + filter, filters);
  }
  T* y = a.y[branch] + filter;
  out.template for_each_run<V>(rows, columns, [&](int m, int n) {
    simt::Vec<T, V> values;
#pragma unroll
    for (int e = 0; e < V; ++e) {
      A value = out.row(m)[n + e];
      if (a.bias != nullptr) value += a.bias[filter + n + e];
      values[e] = T(a.relu && value < A(0) ? A(0) : value);  // NaN stays
    }
    simt::store(y + shared.rows[m].place(g) * a.y_pitch + n, values);
  });
}

template <class Tile, int V>
void forward(const Convolution& p, const void* x, const PerBranch<const void>& w, const PerBranch<void>& y,
             const ConvolutionEpilogue& epilogue, Stream stream) {
  using T = typename Tile::type;
  ForwardArguments<T> a{};
  a.gather = forward_gather(ConvolutionDims(p));
  for (int b = 0; b < p.branches; ++b) {
    a.axes[b] = forward_axes(p.branch[b]);
    a.w[b] = static_cast<const T*>(w[b]);
    a.y[b] = static_cast<T*>(y[b]);
  }
  a.x = static_cast<const T*>(x);
  a.bias = static_cast<const Accumulator<T>*>(epilogue.bias);
  a.statistics = static_cast<Accumulator<T>*>(epilogue.statistics);
  a.groups = static_cast<int>(p.groups);
  a.group_filters = static_cast<int>(p.group_k());
  a.y_pitch = static_cast<int>(p.y_pitch == 0 ? p.k : p.y_pitch);
  a.relu = epilogue.relu;
  simt::launch("convolution forward", &convolution_forward<Tile, V>,
               {.grid = {static_cast<unsigned>(tiles_of(a.gather.rows, Tile::m)),
                         static_cast<unsigned>(tiles_of(p.group_k(), Tile::n)),
                         static_cast<unsigned>(p.branches * p.groups)},
                .block = Tile::threads,
                .shared_bytes = sizeof(ForwardShared<Tile>),
                .stream = stream_of(stream)},
               a);
}

ConvolutionTile forward_tile(const Convolution& p, bool vectors) {
  return convolution_tile(p.dtype, p.n * p.out_h * p.out_w, p.group_k(), p.groups * p.branches, vectors,
                          simt::limits());
}

}  // namespace

bool supports_convolution(const Convolution& p) {
  constexpr std::int64_t most = (std::int64_t{1} << 31) - 1 - 4096;  // what a tile's edge may reach beyond
  constexpr std::int64_t grid = 65535, reach = 32767;
  const std::int64_t farthest = [&] {
    std::int64_t at = 0;
    for (const Convolution::Branch& b : p.branch)
      at = std::max({at, b.pad_h, b.pad_w, b.dilation_h * p.r, b.dilation_w * p.s});
    return at;
  }();
  return p.taps() <= Convolution::max_taps && farthest <= reach && p.h * p.w * p.c <= most &&
         p.out_h * p.out_w * std::max(p.k, p.y_pitch) <= most &&
         p.n * std::max(p.h * p.w, p.out_h * p.out_w) <= most && p.filter_size() <= most &&
         p.taps() * std::max(p.group_c(), p.group_k()) <= most &&
         p.branches * p.groups * p.stride_h * p.stride_w <= grid &&
         tiles_of(std::max(p.group_c() * p.taps(), p.group_k()), 64) <= grid && runs_here();
}

std::int64_t convolve(const Convolution& p, const void* x, const PerBranch<const void>& w,
                      const PerBranch<void>& y, const ConvolutionEpilogue& epilogue, Stream stream) {
  const bool vectors =
      in_vectors(p, {x}) && all_aligned(w) && all_aligned(y) && p.y_pitch % (16 / size_of(p.dtype)) == 0;
  const ConvolutionTile tile = forward_tile(p, vectors);
  visit_tile(tile, p.dtype, vectors, [&](auto shape, auto vector) {
    forward<decltype(shape), vector>(p, x, w, y, epilogue, stream);
  });
  return extent_of(tile).m;
}

}  // namespace fovea::SIMT_WORLD
