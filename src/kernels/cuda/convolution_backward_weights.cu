// Convolution, weight gradient: see convolution.hpp.
//
//   dw_b[k, tap, c] = sum_pixel dy_b[pixel, k] x[pixel at tap of b, c]
//
// Idea: a product of filters x (tap, channel) whose sum runs over the pixels. Both operands have their rows
// contiguous (a pixel's channels), so tiles arrive as they lie and ldmatrix transposes them. Where a tile's columns
// belong to one tap, the sum runs over just the rectangle of pixels whose tap lies inside the image: padding costs
// nothing, and no pixel needs a test. The sum is cut into parts, so that there are blocks for every multiprocessor;
// parts are added up in order by a second kernel, which makes the result the same in every run.
//
// Traffic: x and dy once from memory where they fit the second-level cache, dw once; with parts, dw once more per
// part, written and read.
// Launch: (tiles of filters, tiles of columns, branches x groups x parts) blocks of Tile::threads threads.
#include "kernels/cuda/convolution_device.hpp"
#include "kernels/cuda/scratch.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T>
struct WeightArguments {
  int images, h, w, out_h, out_w, r, s, stride_h, stride_w;
  int group_filters, group_channels, groups, parts;
  TapAxes axes[Convolution::max_branches];
  const T *x, *dy[Convolution::max_branches];
  Accumulator<T>* dw[Convolution::max_branches];  // of part 0
  std::size_t part_pitch;
  Divisor by_images, by_channels;
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
  template <class T>
  __device__ __forceinline__ TapOffset(const WeightArguments<T>& a, int branch, int tap)
      : h(a.axes[branch].h.base + tap / a.s * a.axes[branch].h.step),
        w(a.axes[branch].w.base + tap % a.s * a.axes[branch].w.step) {}
};

template <class T>
__device__ __forceinline__ Rectangle rectangle_of(const WeightArguments<T>& a, int branch, int first_tap,
                                                  int last_tap) {
  Rectangle area{0, 0, a.out_h, a.out_w};
  if (first_tap == last_tap) {
    const TapOffset offset(a, branch, first_tap);
    inside(offset.h, a.stride_h, a.h, a.out_h, area.first_h, area.height);
    inside(offset.w, a.stride_w, a.w, a.out_w, area.first_w, area.width);
  }
  return area;
}

/// The place and image of one index of the sum.
struct Place {
  int n, h, w;
  bool valid;
  template <class T>
  __device__ __forceinline__ Place(const WeightArguments<T>& a, const Rectangle& area, Divisor by_width,
                                   int index, int end)
      : valid(index < end) {
    const int place = a.by_images(index), i = by_width(place);
    n = index - place * a.images;
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
  const int part = static_cast<int>(blockIdx.z) % a.parts, product = static_cast<int>(blockIdx.z) / a.parts;
  const int group = product % a.groups, branch = product / a.groups;
  if (a.dw[branch] == nullptr) return;  // the whole block
  const int first_filter = static_cast<int>(blockIdx.x) * Tile::m,
            first_column = static_cast<int>(blockIdx.y) * Tile::n;
  const int pitch = a.r * a.s * a.group_channels;
  const int filters = min(Tile::m, a.group_filters - first_filter),
            columns = min(Tile::n, pitch - first_column);

  const Rectangle area =
      rectangle_of(a, branch, a.by_channels(first_column), a.by_channels(first_column + columns - 1));
  const Divisor by_width(max(area.width, 1));
  const int pixels = area.height * area.width * a.images, all_steps = (pixels + Tile::k - 1) / Tile::k;
  const int first_step = static_cast<int>(static_cast<std::int64_t>(all_steps) * part / a.parts);
  const int end_step = static_cast<int>(static_cast<std::int64_t>(all_steps) * (part + 1) / a.parts);

  const int dy_pixel = a.groups * a.group_filters, x_pixel = a.groups * a.group_channels;
  const int filter = ShareA::row(), column = ShareB::row();
  const bool has_filter = filter < filters, has_column = column < columns;
  const int tap = a.by_channels(first_column + (has_column ? column : 0));
  const TapOffset offset(a, branch, tap);
  const T* dy = a.dy[branch] + group * a.group_filters + first_filter + filter;
  const T* x = a.x + group * a.group_channels + (first_column + column - tap * a.group_channels);

  Accumulators<Tile> sums;
  clear(sums);
  accumulate<Tile>(shared.tile.stages, end_step - first_step, sums, [&](auto& stage, int step) {
    const int begin = (first_step + step) * Tile::k;
    for (int k = ShareA::first_k(); k < Tile::k; k += ShareA::at_once) {
      const Place place(a, area, by_width, begin + k, pixels);
      const bool valid = place.valid && has_filter;
      const std::size_t pixel = (static_cast<std::size_t>(place.n) * a.out_h + place.h) * a.out_w + place.w;
      fetch<V>(stage.a.at(filter, k), valid ? dy + pixel * dy_pixel : a.dy[branch], valid);
    }
    for (int k = ShareB::first_k(); k < Tile::k; k += ShareB::at_once) {
      const Place place(a, area, by_width, begin + k, pixels);
      const int h = place.h * a.stride_h + offset.h, w = place.w * a.stride_w + offset.w;
      const bool valid = place.valid && has_column && static_cast<unsigned>(h) < static_cast<unsigned>(a.h) &&
                         static_cast<unsigned>(w) < static_cast<unsigned>(a.w);
      const std::size_t pixel = (static_cast<std::size_t>(place.n) * a.h + h) * a.w + w;
      fetch<V>(stage.b.at(column, k), valid ? x + pixel * x_pixel : a.x, valid);
    }
  });
  OutTile<Tile>& out = shared.tile.out;
  put<Tile>(out, sums);
  __syncthreads();
  constexpr int run = V == 1 ? 1 : vector_of<A>;
  A* dw = a.dw[branch] + part * a.part_pitch +
          static_cast<std::size_t>(group * a.group_filters + first_filter) * pitch + first_column;
  for_each_run<Tile, run>(filters, columns, [&](int m, int n) {
    simt::store(dw + static_cast<std::size_t>(m) * pitch + n, simt::load<run>(out.row(m) + n));
  });
}

/// dw = the sum of its parts, in order.
template <class A, int V>
__global__ void __launch_bounds__(256)
    sum_parts(const A* parts, std::size_t part_pitch, int count, int runs, A* dw) {
  const int run = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (run >= runs) return;  // no barrier below
  const A* from = parts + static_cast<std::size_t>(run) * V;
  simt::Vec<A, V> sum = simt::load<V>(from);
  for (int part = 1; part < count; ++part) {
    const simt::Vec<A, V> more = simt::load<V>(from + part * part_pitch);
#pragma unroll
    for (int e = 0; e < V; ++e) sum[e] += more[e];
  }
  simt::store(dw + static_cast<std::size_t>(run) * V, sum);
}

template <class Tile, int V>
void backward_weights(const Convolution& p, const void* x, const PerBranch<const void>& dy,
                      const PerBranch<void>& dw, Stream stream) {
  using T = typename Tile::type;
  using A = Accumulator<T>;
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const std::int64_t columns = p.taps() * p.group_c();
  const std::int64_t blocks =
      tiles_of(p.group_k(), Tile::m) * tiles_of(columns, Tile::n) * p.groups * p.branches;
  const std::int64_t parts = weight_splits(blocks, tiles_of(p.n * p.out_h * p.out_w, Tile::k),
                                           p.branches * p.groups, simt::limits());
  const Scratch<A> sums(parts > 1 ? parts * p.branches * p.filter_size() : 0, stream,
                        "parts of weight gradients");

  WeightArguments<T> a{};
  a.images = narrow(p.n);
  a.h = narrow(p.h);
  a.w = narrow(p.w);
  a.out_h = narrow(p.out_h);
  a.out_w = narrow(p.out_w);
  a.r = narrow(p.r);
  a.s = narrow(p.s);
  a.stride_h = narrow(p.stride_h);
  a.stride_w = narrow(p.stride_w);
  a.group_filters = narrow(p.group_k());
  a.group_channels = narrow(p.group_c());
  a.groups = narrow(p.groups);
  a.parts = narrow(parts);
  a.x = static_cast<const T*>(x);
  a.part_pitch = static_cast<std::size_t>(p.branches * p.filter_size());
  a.by_images = Divisor(a.images);
  a.by_channels = Divisor(a.group_channels);
  for (int b = 0; b < p.branches; ++b) {
    a.axes[b] = forward_axes(p.branch[b]);
    a.dy[b] = static_cast<const T*>(dy[b]);
    if (dw[b] != nullptr) a.dw[b] = parts > 1 ? sums.data() + b * p.filter_size() : static_cast<A*>(dw[b]);
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
  constexpr int run = V == 1 ? 1 : vector_of<A>;
  const int runs = narrow(p.filter_size() / run);
  for (int b = 0; b < p.branches; ++b) {
    if (dw[b] == nullptr) continue;
    simt::launch("convolution weight gradient, sum of parts", &sum_parts<A, run>,
                 {.grid = blocks_for(runs, 256), .block = 256, .stream = stream_of(stream)}, a.dw[b],
                 a.part_pitch, a.parts, runs, static_cast<A*>(dw[b]));
  }
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
