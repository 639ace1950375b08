// Convolution, data gradient: see convolution.hpp.
//
//   dx[pixel, c] = add[pixel, c] + sum_{b, tap, k} dy_b[pixel at tap of b, k] w_b[k, tap, c]
//
// Idea: the forward product turned round: a block makes Tile::m pixels of dx x Tile::n channels, and gathers pixels
// of dy. All branches go into the same sums, one after another, so that dx is written once. With a stride, pixels of
// dx fall into stride_h x stride_w classes by their remainders; the pixels of a class see the same taps, so each
// class is a product of its own with only the taps that reach it, and none of its zeros is multiplied.
//
// Traffic: dy of each branch and the filters once from memory where they fit the second-level cache, dx (and `add`)
// once.
// Launch: (tiles of the largest class, tiles of channels, classes x groups) blocks of Tile::threads threads.
#include "kernels/cuda/convolution_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T>
struct DataArguments {
  ConvolutionDims dims;
  Convolution::Branch branch[Convolution::max_branches];
  const T *dy[Convolution::max_branches], *w[Convolution::max_branches], *add;
  T* dx;
};

template <class Tile>
struct DataShared {
  GatherRow rows[Tile::m];
  Tap taps[Convolution::max_taps];
  int live;
  TileMemory<Tile, Along::k, Along::rows> tile;
};

/// The lattice of pixels (first_h + i * stride_h, first_w + j * stride_w).
struct Class {
  int first_h, first_w;
  __device__ __forceinline__ Class(const ConvolutionDims& d, int number)
      : first_h(number / d.stride_w), first_w(number % d.stride_w) {}
};

/// The pixels of a class, which gather from dy.
__device__ __forceinline__ Gather gather_of(const ConvolutionDims& d, const Class& pixels) {
  Gather g;
  g.images = d.images;
  g.h = d.out_h;
  g.w = d.out_w;
  g.pixel = d.filters();
  g.channels = d.group_filters;
  g.r = d.r;
  g.s = d.s;
  const int height = (d.h - pixels.first_h + d.stride_h - 1) / d.stride_h;
  g.width = (d.w - pixels.first_w + d.stride_w - 1) / d.stride_w;
  g.rows = max(height, 0) * max(g.width, 0) * d.images;
  g.by_images = d.by_images;
  g.by_width = Divisor(max(g.width, 1));
  g.by_channels = d.by_group_filters;
  return g;
}

__device__ __forceinline__ TapAxes axes_of(const ConvolutionDims& d, const Class& pixels,
                                           const Convolution::Branch& b) {
  return {{pixels.first_h + static_cast<int>(b.pad_h), -static_cast<int>(b.dilation_h), d.stride_h},
          {pixels.first_w + static_cast<int>(b.pad_w), -static_cast<int>(b.dilation_w), d.stride_w}};
}

template <class Tile, int V, class T = typename Tile::type>
__global__ void __launch_bounds__(Tile::threads, tile_blocks_at_once<Tile>)
    convolution_backward_data(const __grid_constant__ DataArguments<T> a) {
  using A = Accumulator<T>;
  auto& shared = simt::shared<DataShared<Tile>>();
  const int first_row = static_cast<int>(blockIdx.x) * Tile::m,
            first_channel = static_cast<int>(blockIdx.y) * Tile::n;
  const ConvolutionDims& d = a.dims;
  const Class pixels(d, static_cast<int>(blockIdx.z) / d.groups);
  const Gather g = gather_of(d, pixels);
  if (first_row >= g.rows) return;  // the whole block: a smaller class than the largest
  const int group = static_cast<int>(blockIdx.z) % d.groups;
  const int columns = min(Tile::n, d.group_channels - first_channel);

  list_rows<Tile>(shared.rows, g, first_row);
  Accumulators<Tile> sums;
  clear(sums);
  for (int b = 0; b < d.branches; ++b) {
    if (threadIdx.x == 0)
      shared.live = list_taps(shared.taps, g, axes_of(d, pixels, a.branch[b]), Box(g, first_row, Tile::m));
    __syncthreads();
    const int length = shared.live * g.channels;
    const T* dy = a.dy[b] + group * g.channels;
    const T* w = a.w[b] + static_cast<std::size_t>(group) * d.group_filters * d.filter_size() + first_channel;
    accumulate<Tile>(shared.tile.stages, (length + Tile::k - 1) / Tile::k, sums, [&](auto& stage, int step) {
      load_gathered<Tile, V>(stage.a, step, g, dy, shared.rows, shared.taps, length);
      load_filter_channels<Tile, V>(stage.b, step, g, w, d.group_channels, columns, shared.taps, length);
    });
  }
  OutTile<Tile>& out = shared.tile.out;
  put<Tile>(out, sums);
  __syncthreads();

  const int channel = group * d.group_channels + first_channel;
  out.template for_each_run<V>(min(Tile::m, g.rows - first_row), columns, [&](int m, int n) {
    const GatherRow& row = shared.rows[m];
    const int h = pixels.first_h + row.i * d.stride_h, w = pixels.first_w + row.j * d.stride_w;
    const std::size_t at =
        ((static_cast<std::size_t>(row.n) * d.h + h) * d.w + w) * d.channels() + channel + n;
    simt::Vec<T, V> values, added;
    if (a.add != nullptr) added = simt::load<V>(a.add + at);
#pragma unroll
    for (int e = 0; e < V; ++e)
      values[e] = T(a.add != nullptr ? out.row(m)[n + e] + A(added[e]) : out.row(m)[n + e]);
    simt::store(a.dx + at, values);
  });
}

template <class Tile, int V>
void backward_data(const Convolution& p, const PerBranch<const void>& dy, const PerBranch<const void>& w,
                   const void* add, void* dx, Stream stream) {
  using T = typename Tile::type;
  DataArguments<T> a{.dims = ConvolutionDims(p),
                     .branch = {},
                     .dy = {},
                     .w = {},
                     .add = static_cast<const T*>(add),
                     .dx = static_cast<T*>(dx)};
  for (std::size_t b = 0; b < static_cast<std::size_t>(p.branches); ++b) {
    a.branch[b] = p.branch[b];
    a.dy[b] = static_cast<const T*>(dy[b]);
    a.w[b] = static_cast<const T*>(w[b]);
  }
  const std::int64_t largest = p.n * tiles_of(p.h, p.stride_h) * tiles_of(p.w, p.stride_w);
  simt::launch("convolution data gradient", &convolution_backward_data<Tile, V>,
               {.grid = {static_cast<unsigned>(tiles_of(largest, Tile::m)),
                         static_cast<unsigned>(tiles_of(p.group_c(), Tile::n)),
                         static_cast<unsigned>(p.stride_h * p.stride_w * p.groups)},
                .block = Tile::threads,
                .shared_bytes = sizeof(DataShared<Tile>),
                .stream = stream_of(stream)},
               a);
}

}  // namespace

void convolve_backward_data(const Convolution& p, const PerBranch<const void>& dy,
                            const PerBranch<const void>& w, const void* add, void* dx, Stream stream) {
  const bool vectors = in_vectors(p, {add, dx}) && all_aligned(dy) && all_aligned(w);
  const std::int64_t classes = p.stride_h * p.stride_w;
  const ConvolutionTile tile = convolution_tile(p.dtype, tiles_of(p.n * p.h * p.w, classes), p.group_c(),
                                                p.groups * classes, vectors, simt::limits());
  visit_tile(tile, p.dtype, vectors, [&](auto shape, auto vector) {
    backward_data<decltype(shape), vector>(p, dy, w, add, dx, stream);
  });
}

}  // namespace fovea::SIMT_WORLD
