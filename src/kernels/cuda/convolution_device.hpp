// What the three directions of convolution.hpp share on the device: which pixels the rows of a tile are, which taps
// reach the image, and the loaders that gather operands into shared memory. Included by kernel files only.
//
// Rows are counted place by place and within a place image by image (row = place * images + image), so that a tile
// covers few places of many images: at the edges of small images whole taps then lie in the padding for all of a
// tile's rows, and are left out.
//
// The reduction runs over (live tap, channel), channels fastest: index / channels is the number of a live tap.
#pragma once

#include "kernels/cuda/convolution.hpp"
#include "kernels/cuda/convolution_shape.hpp"
#include "kernels/cuda/tile_gemm.hpp"

namespace fovea::SIMT_WORLD {

/// Division by what is known before the kernel runs, of numbers below 2^31: a product and a shift. (Granlund and
/// Montgomery, PLDI 1994.)
struct Divisor {
  unsigned divisor = 1, multiplier = 1u << 31, shift = 0;

  Divisor() = default;
  SIMT_BOTH explicit Divisor(int by) : divisor(static_cast<unsigned>(by)) {
    while ((1ull << shift) < divisor) ++shift;
    multiplier = static_cast<unsigned>(((1ull << (31 + shift)) + divisor - 1) / divisor);
  }
  SIMT_BOTH int operator()(int n) const {
    return static_cast<int>((static_cast<unsigned long long>(static_cast<unsigned>(n)) * multiplier) >>
                            (31 + shift));
  }
};

/// Where the taps of one axis look: at (base + r * step) / divisor from a row's origin, if that is whole.
struct TapAxis {
  int base = 0, step = 1, divisor = 1;
};
struct TapAxes {
  TapAxis h, w;
};

/// A source image, and the lattice of places whose rows gather from it.
struct Gather {
  int images = 1, h = 1, w = 1;
  int pixel = 1;                   // values of a pixel
  int channels = 1;                // of them, reduced for each tap: a group's
  int r = 1, s = 1;                // taps
  int origin_h = 1, origin_w = 1;  // place (i, j) looks from pixel (i * origin_h, j * origin_w)
  int width = 1;                   // of the lattice
  int rows = 1;                    // places * images
  Divisor by_images, by_width, by_channels;
};

/// A Convolution in the kernels' 32 bits, with what is divided by.
struct ConvolutionDims {
  int images, h, w, out_h, out_w, r, s, stride_h, stride_w;
  int group_channels, group_filters, groups, branches;
  Divisor by_images, by_group_channels, by_group_filters;

  explicit ConvolutionDims(const Convolution& p)
      : images(static_cast<int>(p.n)),
        h(static_cast<int>(p.h)),
        w(static_cast<int>(p.w)),
        out_h(static_cast<int>(p.out_h)),
        out_w(static_cast<int>(p.out_w)),
        r(static_cast<int>(p.r)),
        s(static_cast<int>(p.s)),
        stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)),
        group_channels(static_cast<int>(p.group_c())),
        group_filters(static_cast<int>(p.group_k())),
        groups(static_cast<int>(p.groups)),
        branches(static_cast<int>(p.branches)),
        by_images(images),
        by_group_channels(group_channels),
        by_group_filters(group_filters) {}
  SIMT_BOTH int channels() const { return groups * group_channels; }
  SIMT_BOTH int filters() const { return groups * group_filters; }
  /// Values of a filter.
  SIMT_BOTH int filter_size() const { return r * s * group_channels; }
};

/// The pixels of y, which gather from x.
inline Gather forward_gather(const ConvolutionDims& d) {
  Gather g;
  g.images = d.images;
  g.h = d.h;
  g.w = d.w;
  g.pixel = d.channels();
  g.channels = d.group_channels;
  g.r = d.r;
  g.s = d.s;
  g.origin_h = d.stride_h;
  g.origin_w = d.stride_w;
  g.width = d.out_w;
  g.rows = d.images * d.out_h * d.out_w;
  g.by_images = d.by_images;
  g.by_width = Divisor(d.out_w);
  g.by_channels = d.by_group_channels;
  return g;
}

inline TapAxes forward_axes(const Convolution::Branch& b) {
  return {{-static_cast<int>(b.pad_h), static_cast<int>(b.dilation_h), 1},
          {-static_cast<int>(b.pad_w), static_cast<int>(b.dilation_w), 1}};
}

/// A row of a tile.
struct GatherRow {
  std::size_t image;  // offset of its image in the source
  int h, w;           // its origin; far outside where the tile has no such row
  int i, j, n;        // its place and image
  /// Of all places of all images, image by image.
  __device__ __forceinline__ std::size_t place(const Gather& g) const {
    return static_cast<std::size_t>(n) * (g.rows / g.images) + i * g.width + j;
  }
};

struct Tap {
  short h, w;
  int index;  // r * S + s
};

constexpr int no_row = -(1 << 28);

template <class Tile>
__device__ __forceinline__ void list_rows(GatherRow (&rows)[Tile::m], const Gather& g, int first) {
  for (int m = static_cast<int>(threadIdx.x); m < Tile::m; m += Tile::threads) {
    const int row = first + m;
    if (row >= g.rows) {
      rows[m] = {0, no_row, no_row, 0, 0, 0};
      continue;
    }
    const int place = g.by_images(row), n = row - place * g.images;
    const int i = g.by_width(place), j = place - i * g.width;
    rows[m] = {static_cast<std::size_t>(n) * g.h * g.w * g.pixel, i * g.origin_h, j * g.origin_w, i, j, n};
  }
}

/// The places that a tile covers lie in this box.
struct Box {
  int top, bottom, left, right;  // all within
  __device__ __forceinline__ Box(const Gather& g, int first, int rows) {
    const int last = min(first + rows, g.rows) - 1;
    const int from = g.by_images(first), to = g.by_images(last);
    top = g.by_width(from);
    bottom = g.by_width(to);
    left = top == bottom ? from - top * g.width : 0;
    right = top == bottom ? to - bottom * g.width : g.width - 1;
  }
};

/// Whether a tap reaches the image from any of the places first..last of an axis; `offset` is then where it looks.
__device__ __forceinline__ bool is_live(const TapAxis& axis, int r, int first, int last, int origin, int size,
                                        int& offset) {
  const int scaled = axis.base + r * axis.step;
  offset = scaled / axis.divisor;
  return offset * axis.divisor == scaled && last * origin + offset >= 0 && first * origin + offset < size;
}

/// Lists the taps that any row of the box needs; one thread calls this. Returns how many.
__device__ __forceinline__ int list_taps(Tap* taps, const Gather& g, const TapAxes& axes, const Box& box) {
  int count = 0;
  for (int r = 0; r < g.r; ++r) {
    int h = 0, w = 0;
    if (!is_live(axes.h, r, box.top, box.bottom, g.origin_h, g.h, h)) continue;
    for (int s = 0; s < g.s; ++s) {
      if (!is_live(axes.w, s, box.left, box.right, g.origin_w, g.w, w)) continue;
      taps[count++] = {static_cast<short>(h), static_cast<short>(w), r * g.s + s};
    }
  }
  return count;
}

/// V values from global to shared memory, zeros where not `valid`.
template <int V, class T>
__device__ __forceinline__ void fetch(T* to, const T* from, bool valid) {
  if constexpr (V * sizeof(T) == 16) {
    simt::cp_async<16>(to, from, valid ? 16 : 0);
  } else {
    static_assert(V == 1);
    *to = valid ? *from : T(0.0f);
  }
}

/// How the threads of a block share an operand of Rows x K: each takes runs of V along k, or along the rows.
template <class Tile, int V>
struct AlongK {
  static constexpr int runs = Tile::k / V, at_once = Tile::threads / runs;
  static __device__ __forceinline__ int k() { return static_cast<int>(threadIdx.x) % runs * V; }
  static __device__ __forceinline__ int first_row() { return static_cast<int>(threadIdx.x) / runs; }
};
template <class Tile, int V, int Rows>
struct AlongRows {
  static constexpr int runs = Rows / V, at_once = Tile::threads / runs;
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) % runs * V; }
  static __device__ __forceinline__ int first_k() { return static_cast<int>(threadIdx.x) / runs; }
};

/// What a forward product keeps in shared memory.
template <class Tile>
struct ForwardShared {
  GatherRow rows[Tile::m];
  Tap taps[Convolution::max_taps];
  int live;
  TileMemory<Tile, Along::k, Along::k> tile;
};

/// The gathered operand: row m, k of a step. `source` is where the group's channels of image 0 begin.
template <class Tile, int V, class T>
__device__ __forceinline__ void load_gathered(Operand<T, Tile::m, Tile::k, Along::k>& to, int step,
                                              const Gather& g, const T* source, const GatherRow* rows,
                                              const Tap* taps, int length) {
  using Share = AlongK<Tile, V>;
  const int k = step * Tile::k + Share::k();
  const int number = g.by_channels(k), c = k - number * g.channels;
  const Tap tap = taps[k < length ? number : 0];
#pragma unroll 2
  for (int m = Share::first_row(); m < Tile::m; m += Share::at_once) {
    const GatherRow& row = rows[m];
    const int h = row.h + tap.h, w = row.w + tap.w;
    const bool valid = k < length && static_cast<unsigned>(h) < static_cast<unsigned>(g.h) &&
                       static_cast<unsigned>(w) < static_cast<unsigned>(g.w);
    fetch<V>(to.at(m, Share::k()), source + row.image + (valid ? (h * g.w + w) * g.pixel + c : 0), valid);
  }
}

/// Filters as rows, k along their (tap, channel): the forward direction. `filters` is the tile's first.
template <class Tile, int V, class T>
__device__ __forceinline__ void load_filters(Operand<T, Tile::n, Tile::k, Along::k>& to, int step,
                                             const Gather& g, const T* filters, int count, const Tap* taps,
                                             int length) {
  using Share = AlongK<Tile, V>;
  const int k = step * Tile::k + Share::k();
  const int number = g.by_channels(k), c = k - number * g.channels;
  const int tap = taps[k < length ? number : 0].index, pitch = g.r * g.s * g.channels;
  for (int n = Share::first_row(); n < Tile::n; n += Share::at_once) {
    const bool valid = k < length && n < count;
    fetch<V>(to.at(n, Share::k()), filters + (valid ? n * pitch + tap * g.channels + c : 0), valid);
  }
}

/// A filter's channels as rows, k along (tap, filter): the data gradient, whose gathered channels are the filters.
/// `filters` is the group's first, at the tile's first channel of `channels` in all.
template <class Tile, int V, class T>
__device__ __forceinline__ void load_filter_channels(Operand<T, Tile::n, Tile::k, Along::rows>& to, int step,
                                                     const Gather& g, const T* filters, int channels,
                                                     int count, const Tap* taps, int length) {
  using Share = AlongRows<Tile, V, Tile::n>;
  const int n = Share::row(), pitch = g.r * g.s * channels;
  for (int at = Share::first_k(); at < Tile::k; at += Share::at_once) {
    const int k = step * Tile::k + at;
    const int number = g.by_channels(k), filter = k - number * g.channels;
    const bool valid = k < length && n < count;
    const int tap = taps[k < length ? number : 0].index;
    fetch<V>(to.at(n, at), filters + (valid ? filter * pitch + tap * channels + n : 0), valid);
  }
}

/// sums += the forward product of a tile: its pixels, listed in shared.rows, with `count` filters from `w` on. All
/// threads call it; taps may be listed just before.
template <class Tile, int V, class T = typename Tile::type>
__device__ __forceinline__ void accumulate_forward(ForwardShared<Tile>& shared, const Gather& g,
                                                   const TapAxes& axes, int first_row, const T* x, const T* w,
                                                   int count, Accumulators<Tile>& sums) {
  if (threadIdx.x == 0) shared.live = list_taps(shared.taps, g, axes, Box(g, first_row, Tile::m));
  __syncthreads();
  const int length = shared.live * g.channels;
  accumulate<Tile>(shared.tile.stages, (length + Tile::k - 1) / Tile::k, sums, [&](auto& stage, int step) {
    load_gathered<Tile, V>(stage.a, step, g, x, shared.rows, shared.taps, length);
    load_filters<Tile, V>(stage.b, step, g, w, count, shared.taps, length);
  });
}

/// Blocks that share a multiprocessor, for the compiler's choice of registers.
template <class Tile>
constexpr int tile_blocks_at_once = sizeof(typename Tile::type) == 2 ? 512 / Tile::threads : 1;

template <class Tile>
constexpr bool has_extent(ConvolutionTile tile) {
  return extent_of(tile).m == Tile::m && extent_of(tile).n == Tile::n && Tile::m >= least_tile_rows;
}
static_assert(has_extent<LargeBf16Tile>(ConvolutionTile::large_bf16) &&
              has_extent<SmallBf16Tile>(ConvolutionTile::small_bf16) &&
              has_extent<FloatTile>(ConvolutionTile::f32) && has_extent<DoubleTile>(ConvolutionTile::f64));

/// Calls f(tile, std::integral_constant<int, V>), with the small tile for bf16.
template <class F>
void visit_small_tile(Dtype dtype, bool vectors, F&& f) {
  const auto with = [&](auto tile) {
    if (vectors) {
      f(tile, std::integral_constant<int, vector_of<typename decltype(tile)::type>>{});
    } else {
      f(tile, std::integral_constant<int, 1>{});
    }
  };
  if (dtype == Dtype::bf16) return with(SmallBf16Tile{});
  if (dtype == Dtype::f64) return with(DoubleTile{});
  with(FloatTile{});
}

/// The same with the tile that convolution_tile() chose; the large one always comes in vectors.
template <class F>
void visit_tile(ConvolutionTile tile, Dtype dtype, bool vectors, F&& f) {
  if (tile != ConvolutionTile::large_bf16) return visit_small_tile(dtype, vectors, f);
  f(LargeBf16Tile{}, std::integral_constant<int, vector_of<simt::bf16>>{});
}

inline std::int64_t tiles_of(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

/// Whether the channels of a group on both sides, and all pointers, allow 16 bytes at a time.
inline bool in_vectors(const Convolution& p, std::initializer_list<const void*> pointers) {
  const std::int64_t vector = 16 / size_of(p.dtype);
  return p.group_c() % vector == 0 && p.group_k() % vector == 0 && aligned_16(pointers);
}
template <class T>
bool all_aligned(const PerBranch<T>& pointers) {
  for (const T* p : pointers) {
    if (!aligned_16({p})) return false;
  }
  return true;
}

}  // namespace fovea::SIMT_WORLD
