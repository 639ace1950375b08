// Convolution, weight gradient: see convolution.hpp.
//
//   dw_b[k, tap, c] = sum_pixel dy_b[pixel, k] x[pixel at tap of b, c]
//
// Idea: a product of filters x (tap, channel) whose sum runs over the pixels. Both operands have their rows
// contiguous (a pixel's channels), so tiles arrive as they lie and ldmatrix transposes them. Where a tile's columns
// belong to one tap, the sum runs over just the rectangle of pixels whose tap lies inside the image: padding costs
// nothing, and no pixel needs a test. The sum is cut into parts, so that there are blocks for every multiprocessor;
// parts are added up in order by a second launch, for all branches at once, which makes the result the same in every run.
//
// Traffic: x and dy once from memory where they fit the second-level cache, dw once; with parts, dw once more per
// part, written and read.
// Launch: (tiles of filters, tiles of columns, branches x groups x parts) blocks of Tile::threads threads.
#include "kernels/cuda/convolution_device.hpp"
#include "kernels/cuda/scratch.hpp"
#include "kernels/cuda/values.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T>
struct WeightArguments {
  ConvolutionDims dims;
  TapAxes axes[Convolution::max_branches];
  const T *x, *dy[Convolution::max_branches];
  Accumulator<T>* dw[Convolution::max_branches];  // of part 0
  int parts;
  std::size_t part_pitch;
};

template <class Tile>
struct WeightShared {
  TileMemory<Tile, Along::rows, Along::rows> tile;
};

/// The places [first_h, first_h + height) x [first_w, first_w + width) that a tile's sum runs over.
struct Rectangle {
  int first_h, first_w, height, width;
};

/// Places p with 0 <= p * stride + offset < size, among `count`.
__device__ __forceinline__ void inside(int offset, int stride, int size, int count, int& first, int& length) {
  first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int end = size - 1 - offset < 0 ? 0 : (size - 1 - offset) / stride + 1;
  length = max(min(end, count) - first, 0);
}

/// Where a tap looks from, in pixels.
struct TapOffset {
  int h, w;
  __device__ __forceinline__ TapOffset(const ConvolutionDims& d, const TapAxes& axes, int tap)
      : h(axes.h.base + tap / d.s * axes.h.step), w(axes.w.base + tap % d.s * axes.w.step) {}
};

__device__ __forceinline__ Rectangle rectangle_of(const ConvolutionDims& d, const TapAxes& axes,
                                                  int first_tap, int last_tap) {
  Rectangle area{0, 0, d.out_h, d.out_w};
  if (first_tap == last_tap) {
    const TapOffset offset(d, axes, first_tap);
    inside(offset.h, d.stride_h, d.h, d.out_h, area.first_h, area.height);
    inside(offset.w, d.stride_w, d.w, d.out_w, area.first_w, area.width);
  }
  return area;
}

/// The place and image of one index of the sum.
struct Place {
  int n, h, w;
  bool valid;
  __device__ __forceinline__ Place(const ConvolutionDims& d, const Rectangle& area, const Divisor& by_width,
                                   int index, int end)
      : valid(index < end) {
    const int place = d.by_images(index), i = by_width(place);
    n = index - place * d.images;
    h = area.first_h + i;
    w = area.first_w + place - i * area.width;
  }
};

template <class Tile, int V, class T = typename Tile::type>
__global__ void __launch_bounds__(Tile::threads, tile_blocks_at_once<Tile>)
    convolution_backward_weights(const __grid_constant__ WeightArguments<T> a) {
  using A = Accumulator<T>;
  using ShareA = AlongRows<Tile, V, Tile::m>;
  using ShareB = AlongRows<Tile, V, Tile::n>;
  auto& shared = simt::shared<WeightShared<Tile>>();
  const ConvolutionDims& d = a.dims;
  const int part = static_cast<int>(blockIdx.z) % a.parts, product = static_cast<int>(blockIdx.z) / a.parts;
  const int group = product % d.groups, branch = product / d.groups;
  if (a.dw[branch] == nullptr) return;  // the whole block
  const TapAxes& axes = a.axes[branch];
  const int first_filter = static_cast<int>(blockIdx.x) * Tile::m,
            first_column = static_cast<int>(blockIdx.y) * Tile::n;
  const int pitch = d.filter_size();
  const int filters = min(Tile::m, d.group_filters - first_filter),
            columns = min(Tile::n, pitch - first_column);

  const Rectangle area = rectangle_of(d, axes, d.by_group_channels(first_column),
                                      d.by_group_channels(first_column + columns - 1));
  const Divisor by_width(max(area.width, 1));
  const int pixels = area.height * area.width * d.images, all_steps = (pixels + Tile::k - 1) / Tile::k;
  const int first_step = static_cast<int>(static_cast<std::int64_t>(all_steps) * part / a.parts);
  const int end_step = static_cast<int>(static_cast<std::int64_t>(all_steps) * (part + 1) / a.parts);

  const int filter = ShareA::row(), column = ShareB::row();
  const bool has_filter = filter < filters, has_column = column < columns;
  const int tap = d.by_group_channels(first_column + (has_column ? column : 0));
  const TapOffset offset(d, axes, tap);
  const T* dy = a.dy[branch] + group * d.group_filters + first_filter + filter;
  const T* x = a.x + group * d.group_channels + (first_column + column - tap * d.group_channels);

  Accumulators<Tile> sums;
  clear(sums);
  accumulate<Tile>(shared.tile.stages, end_step - first_step, sums, [&](auto& stage, int step) {
    const int begin = (first_step + step) * Tile::k;
    for (int k = ShareA::first_k(); k < Tile::k; k += ShareA::at_once) {
      const Place place(d, area, by_width, begin + k, pixels);
      const bool valid = place.valid && has_filter;
      const std::size_t pixel = (static_cast<std::size_t>(place.n) * d.out_h + place.h) * d.out_w + place.w;
      fetch<V>(stage.a.at(filter, k), valid ? dy + pixel * d.filters() : a.dy[branch], valid);
    }
    for (int k = ShareB::first_k(); k < Tile::k; k += ShareB::at_once) {
      const Place place(d, area, by_width, begin + k, pixels);
      const int h = place.h * d.stride_h + offset.h, w = place.w * d.stride_w + offset.w;
      const bool valid = place.valid && has_column && static_cast<unsigned>(h) < static_cast<unsigned>(d.h) &&
                         static_cast<unsigned>(w) < static_cast<unsigned>(d.w);
      const std::size_t pixel = (static_cast<std::size_t>(place.n) * d.h + h) * d.w + w;
      fetch<V>(stage.b.at(column, k), valid ? x + pixel * d.channels() : a.x, valid);
    }
  });
  OutTile<Tile>& out = shared.tile.out;
  put<Tile>(out, sums);
  __syncthreads();
  constexpr int run = V == 1 ? 1 : vector_of<A>;
  A* dw = a.dw[branch] + part * a.part_pitch +
          static_cast<std::size_t>(group * d.group_filters + first_filter) * pitch + first_column;
  out.template for_each_run<run>(filters, columns, [&](int m, int n) {
    simt::store(dw + static_cast<std::size_t>(m) * pitch + n, simt::load<run>(out.row(m) + n));
  });
}

template <class A>
struct WeightParts {
  const A* sums;  // part by part, in each the branches' filters
  std::size_t part_pitch;
  int parts, runs;  // runs: of V values, of one branch's filters
  A* dw[Convolution::max_branches];
};

/// dw of all branches = the sums of their parts, in order, in double.
template <class A, int V>
__global__ void __launch_bounds__(256) sum_parts(const __grid_constant__ WeightParts<A> t) {
  const int run = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x),
            branch = static_cast<int>(blockIdx.y);
  if (run >= t.runs || t.dw[branch] == nullptr) return;  // no barrier below
  const A* from = t.sums + (static_cast<std::size_t>(branch) * t.runs + run) * V;
  double sum[V] = {};
  for (int part = 0; part < t.parts; ++part) {
    const simt::Vec<A, V> more = simt::load<V>(from + part * t.part_pitch);
#pragma unroll
    for (int e = 0; e < V; ++e) sum[e] += double(more[e]);
  }
  store_as<V>(t.dw[branch] + static_cast<std::size_t>(run) * V, sum);
}

template <class Tile, int V>
void backward_weights(const Convolution& p, const void* x, const PerBranch<const void>& dy,
                      const PerBranch<void>& dw, Stream stream) {
  using T = typename Tile::type;
  using A = Accumulator<T>;
  constexpr int run = V == 1 ? 1 : vector_of<A>;
  const std::int64_t columns = p.taps() * p.group_c();
  const std::int64_t blocks =
      tiles_of(p.group_k(), Tile::m) * tiles_of(columns, Tile::n) * p.groups * p.branches;
  const std::int64_t parts = weight_splits(blocks, tiles_of(p.n * p.out_h * p.out_w, Tile::k),
                                           p.branches * p.groups, simt::limits());
  const Scratch<A> sums(parts > 1 ? parts * p.branches * p.filter_size() : 0, stream,
                        "parts of weight gradients");

  WeightArguments<T> a{.dims = ConvolutionDims(p),
                       .axes = {},
                       .x = static_cast<const T*>(x),
                       .dy = {},
                       .dw = {},
                       .parts = static_cast<int>(parts),
                       .part_pitch = static_cast<std::size_t>(p.branches * p.filter_size())};
  WeightParts<A> merged{.sums = sums.data(),
                        .part_pitch = a.part_pitch,
                        .parts = a.parts,
                        .runs = static_cast<int>(p.filter_size() / run),
                        .dw = {}};
  for (std::size_t b = 0; b < static_cast<std::size_t>(p.branches); ++b) {
    a.axes[b] = forward_axes(p.branch[b]);
    a.dy[b] = static_cast<const T*>(dy[b]);
    merged.dw[b] = static_cast<A*>(dw[b]);
    if (dw[b] != nullptr)
      a.dw[b] = parts > 1 ? sums.data() + static_cast<std::int64_t>(b) * p.filter_size() : merged.dw[b];
  }
  simt::launch("convolution weight gradient", &convolution_backward_weights<Tile, V>,
               {.grid = {static_cast<unsigned>(tiles_of(p.group_k(), Tile::m)),
                         static_cast<unsigned>(tiles_of(columns, Tile::n)),
                         static_cast<unsigned>(p.branches * p.groups * parts)},
                .block = Tile::threads,
                .shared_bytes = sizeof(WeightShared<Tile>),
                .stream = stream_of(stream)},
               a);
  if (parts == 1) return;
  simt::launch("convolution weight gradient, sum of parts", &sum_parts<A, run>,
               {.grid = {blocks_for(merged.runs, 256), static_cast<unsigned>(p.branches)},
                .block = 256,
                .stream = stream_of(stream)},
               merged);
}

}  // namespace

void convolve_backward_weights(const Convolution& p, const void* x, const PerBranch<const void>& dy,
                               const PerBranch<void>& dw, Stream stream) {
  const bool vectors = in_vectors(p, {x}) && all_aligned(dy) && all_aligned(dw);
  const ConvolutionTile tile = convolution_tile(p.dtype, p.group_k(), p.taps() * p.group_c(),
                                                p.groups * p.branches, vectors, simt::limits());
  visit_tile(tile, p.dtype, vectors, [&](auto shape, auto vector) {
    backward_weights<decltype(shape), vector>(p, x, dy, dw, stream);
  });
}

}  // namespace fovea::SIMT_WORLD
