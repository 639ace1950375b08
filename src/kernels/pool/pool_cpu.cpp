// Pooling by loops vectorised along the channels, float and double.
//
// Forward writes y and the indices in one pass. Backward gathers: a pixel of dx asks the windows that contain
// it, in row-major order, so dx is written once, with neither a zero fill nor a scatter, and overlapping
// windows add up in a fixed order on any number of threads. The 2x2 window, with all of it in registers, is a
// case of its own. Packed indices are made and taken apart a few cache lines at a time.
#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/stream_store.hpp"
#include "kernels/pool/kernels.hpp"
#include "kernels/pool/pool_indices.hpp"

namespace fovea {
namespace {

constexpr std::int64_t tile = 64;  // channels kept close to the registers while taps pass by

// As wide as T, so that a comparison of Ts selects indices without changing widths.
template <class T>
using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// Calls f(width) with `channels`: as a constant where it is a whole tile, so that its loops unroll into
// registers.
template <class F>
inline void with_width(std::int64_t channels, F&& f) {
  if (channels == tile) {
    f(std::integral_constant<std::int64_t, tile>());
  } else {
    f(channels);
  }
}

// ---- maximum, forward

// Whether a later tap takes over from `best`; bitwise, so that it stays a vector mask.
template <class T>
inline bool beats(T value, T best) {
  return (value > best) | (value != value);
}

// One window of 2x2 wholly inside the image, `channels` <= tile of them: x0 and x1 are its rows, `next` the distance
// between pixels.
template <bool WithIndices, class T, class Width>
void max_2x2(const T* x0, const T* x1, std::int64_t next, Width width, T* y, std::uint8_t* indices) {
  const std::int64_t channels = width;
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    const T v1 = x0[next + c], v2 = x1[c], v3 = x1[next + c];
    T best = x0[c];
    Index<T> index = 0;
    index = beats(v1, best) ? 1 : index;
    best = beats(v1, best) ? v1 : best;
    index = beats(v2, best) ? 2 : index;
    best = beats(v2, best) ? v2 : best;
    index = beats(v3, best) ? 3 : index;
    best = beats(v3, best) ? v3 : best;
    y[c] = best;
    if constexpr (WithIndices) indices[c] = static_cast<std::uint8_t>(index);
  }
}

// Any window, `channels` <= tile of them; tap 0,0 is at offset `origin`, which may lie in the padding.
template <class T, class Width>
void max_window(const PoolProblem& p, const T* x, std::int64_t origin, PoolRange rows, PoolRange columns,
                Width width, T* y, std::uint8_t* indices) {
  const std::int64_t channels = width;
  alignas(64) T best[tile];
  alignas(64) Index<T> winner[tile];
  const T* first = x + origin + (rows.begin * p.w + columns.begin) * p.c;
  const Index<T> first_tap = static_cast<Index<T>>(rows.begin * p.kernel_w + columns.begin);
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    best[c] = first[c];
    winner[c] = first_tap;
  }
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    for (std::int64_t s = columns.begin; s < columns.end; ++s) {
      const T* values = x + origin + (r * p.w + s) * p.c;
      const Index<T> tap = static_cast<Index<T>>(r * p.kernel_w + s);
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) {
        const bool takes = beats(values[c], best[c]);
        best[c] = takes ? values[c] : best[c];
        winner[c] = takes ? tap : winner[c];
      }
    }
  }
  std::copy_n(best, channels, y);
  if (indices == nullptr) return;
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) indices[c] = static_cast<std::uint8_t>(winner[c]);
}

// Where the indices of a tile of channels go: whole bytes of four where pixels begin with one, else to `apart`, one a
// byte, to be packed when all are there.
struct IndexTile {
  std::uint8_t* packed;
  std::uint8_t* apart;
  alignas(64) std::uint8_t own[tile];

  explicit operator bool() const { return packed != nullptr || apart != nullptr; }
  std::uint8_t* at(std::int64_t element) { return packed != nullptr ? own : apart + element; }
  template <class Width>
  void finish(std::int64_t element, Width width) const {
    if (packed != nullptr) pack_pool_indices(own, width, packed + element / 4);
  }
};

// Calls f(tile of indices) and brings the indices to the port's form.
template <class F>
void with_index_tiles(const PoolProblem& p, std::uint8_t* indices, F&& f) {
  if (indices == nullptr || !p.packs_indices()) {
    f(IndexTile{.packed = nullptr, .apart = indices, .own = {}});
  } else if (p.c % 4 == 0) {
    f(IndexTile{.packed = indices, .apart = nullptr, .own = {}});
  } else {
    std::vector<std::uint8_t> apart(static_cast<std::size_t>(p.y_shape().numel()));
    f(IndexTile{.packed = nullptr, .apart = apart.data(), .own = {}});
    pack_pool_indices(apart.data(), p.y_shape().numel(), indices);
  }
}

template <bool WithIndices, class T>
void max_forward_2x2(const PoolProblem& p, const T* x, T* y, const IndexTile& indices) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w(), pitch = p.y_slice.pitch(p.c);
  parallel_for(p.n * out_h, [&](std::int64_t row) {
    const std::int64_t n = row / out_h, oy = row % out_h;
    const T* top = x + (n * p.h + oy * p.stride_h) * p.w * p.c;
    IndexTile mine = indices;
    for (std::int64_t ox = 0; ox < out_w; ++ox) {
      for (std::int64_t c = 0; c < p.c; c += tile) {
        const std::int64_t pixel = row * out_w + ox, out = pixel * p.c + c;
        const T* corner = top + ox * p.stride_w * p.c + c;
        with_width(std::min(tile, p.c - c), [&](auto width) {
          max_2x2<WithIndices>(corner, corner + p.w * p.c, p.c, width, y + pixel * pitch + c,
                               WithIndices ? mine.at(out) : nullptr);
          if constexpr (WithIndices) mine.finish(out, width);
        });
      }
    }
  });
}

template <class T>
void max_forward_any(const PoolProblem& p, const T* x, T* y, const IndexTile& indices) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w(), pitch = p.y_slice.pitch(p.c);
  parallel_for(p.n * out_h, [&](std::int64_t row) {
    const std::int64_t n = row / out_h, oy = row % out_h;
    const PoolRange rows = taps_of(oy, p.h, p.kernel_h, p.stride_h, p.pad_h);
    IndexTile mine = indices;
    for (std::int64_t ox = 0; ox < out_w; ++ox) {
      const PoolRange columns = taps_of(ox, p.w, p.kernel_w, p.stride_w, p.pad_w);
      const std::int64_t pixel = row * out_w + ox, out = pixel * p.c;
      const std::int64_t origin =
          ((n * p.h + oy * p.stride_h - p.pad_h) * p.w + ox * p.stride_w - p.pad_w) * p.c;
      for (std::int64_t c = 0; c < p.c; c += tile) {
        with_width(std::min(tile, p.c - c), [&](auto width) {
          max_window(p, x, origin + c, rows, columns, width, y + pixel * pitch + c,
                     mine ? mine.at(out + c) : nullptr);
          mine.finish(out + c, width);
        });
      }
    }
  });
}

// ---- gradients: a pixel asks the windows that contain it

// dx[pixel] = sum over its windows of value(c), where value = of(offset of the window in y, oy, ox, row of
// the tap, column of the tap), and `of` = for_windows(first and last + 1 of a row of dx's windows, in y).
template <class T, class ForWindows>
void gather_windows(const PoolProblem& p, T* dx, ForWindows&& for_windows) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w();
  std::vector<PoolRange> columns_of(static_cast<std::size_t>(p.w));
  for (std::int64_t ix = 0; ix < p.w; ++ix) {
    columns_of[static_cast<std::size_t>(ix)] = windows_of(ix, out_w, p.kernel_w, p.stride_w, p.pad_w);
  }
  const bool past_cache = writes_past_cache(dx, p.c, p.n * p.h * p.w);
  parallel_for(p.n * p.h, [&](std::int64_t row) {
    const std::int64_t n = row / p.h, iy = row % p.h;
    const PoolRange rows = windows_of(iy, out_h, p.kernel_h, p.stride_h, p.pad_h);
    const std::int64_t per_row = out_w * p.c;
    const auto of = for_windows((n * out_h + rows.begin) * per_row, (n * out_h + rows.end) * per_row);
    for (std::int64_t ix = 0; ix < p.w; ++ix) {
      const PoolRange columns = columns_of[static_cast<std::size_t>(ix)];
      T* out = dx + (row * p.w + ix) * p.c;
      const std::int64_t windows = rows.size() * columns.size();
      if (windows == 0) write_row(out, p.c, past_cache, [](std::int64_t) { return T(0); });
      bool first = true;
      for (std::int64_t oy = rows.begin; oy < rows.end; ++oy) {
        for (std::int64_t ox = columns.begin; ox < columns.end; ++ox) {
          const auto value = of(((n * out_h + oy) * out_w + ox) * p.c, oy, ox, iy + p.pad_h - oy * p.stride_h,
                                ix + p.pad_w - ox * p.stride_w);
          if (first) {
            write_row(out, p.c, past_cache && windows == 1, value);
          } else {
#pragma omp simd
            for (std::int64_t c = 0; c < p.c; ++c) out[c] += value(c);
          }
          first = false;
        }
      }
    }
    finish_writes(past_cache);
  });
}

// The indices of elements [begin, end) of y, one a byte.
class RowIndices {
 public:
  RowIndices(const PoolProblem& p, const std::uint8_t* indices, std::int64_t begin, std::int64_t end) {
    if (!p.packs_indices()) {
      first_ = indices;
      return;
    }
    if (begin == end) return;
    origin_ = begin / 4 * 4;
    const std::int64_t bytes = (end - origin_ + 3) / 4;
    own_ = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(4 * bytes));
    unpack_pool_indices(indices, begin / 4, bytes, own_.get());
  }
  const std::uint8_t* of(std::int64_t element) const {
    return (first_ != nullptr ? first_ : own_.get()) + (element - origin_);
  }

 private:
  const std::uint8_t* first_ = nullptr;
  std::int64_t origin_ = 0;
  std::unique_ptr<std::uint8_t[]> own_;
};

// ---- average

// 1 / the number of taps that the average of window (oy, ox) is over.
double share_of(const PoolProblem& p, std::int64_t oy, std::int64_t ox) {
  return 1.0 / static_cast<double>(taps_counted(p, oy, ox));
}

template <class T, class Width>
void average_window(const PoolProblem& p, const T* x, std::int64_t origin, PoolRange rows, PoolRange columns,
                    T share, Width width, T* y) {
  const std::int64_t channels = width;
  alignas(64) T sum[tile] = {};
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    for (std::int64_t s = columns.begin; s < columns.end; ++s) {
      const T* values = x + origin + (r * p.w + s) * p.c;
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) sum[c] += values[c];
    }
  }
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) y[c] = sum[c] * share;
}

// Sums `channels` <= tile channels of all pixels of one image: in T for a run of pixels, in double over the
// runs.
template <class T, class Width>
void mean_of_pixels(const T* x, std::int64_t pixels, std::int64_t stride, Width width, T* y) {
  const std::int64_t channels = width;
  constexpr std::int64_t run = 64;
  double total[tile] = {};
  for (std::int64_t at = 0; at < pixels; at += run) {
    alignas(64) T sum[tile] = {};
    for (std::int64_t i = at; i < std::min(at + run, pixels); ++i) {
      const T* values = x + i * stride;
#pragma omp simd
      for (std::int64_t c = 0; c < channels; ++c) sum[c] += values[c];
    }
    for (std::int64_t c = 0; c < channels; ++c) total[c] += double(sum[c]);
  }
  for (std::int64_t c = 0; c < channels; ++c) y[c] = static_cast<T>(total[c] / static_cast<double>(pixels));
}

}  // namespace

void max_pool_forward_cpu(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = p.y_slice.first_of<T>(ports[1]);
    std::uint8_t* indices = ports[2].as<std::uint8_t>();
    with_index_tiles(p, indices, [&](const IndexTile& tiles) {
      if (p.kernel_h != 2 || p.kernel_w != 2 || p.pad_h != 0 || p.pad_w != 0 || p.ceil_mode != 0) {
        max_forward_any(p, x, y, tiles);
      } else if (tiles) {
        max_forward_2x2<true>(p, x, y, tiles);
      } else {
        max_forward_2x2<false>(p, x, y, tiles);
      }
    });
  });
}

void max_pool_backward_cpu(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::uint8_t* indices = ports[0].as<std::uint8_t>();
    const T* dy = ports[1].as<T>();
    gather_windows(p, ports[2].as<T>(), [&](std::int64_t begin, std::int64_t end) {
      RowIndices winners(p, indices, begin, end);
      return [&p, dy, winners = std::move(winners)](std::int64_t at, std::int64_t, std::int64_t,
                                                    std::int64_t r, std::int64_t s) {
        const Index<T> tap = static_cast<Index<T>>(r * p.kernel_w + s);
        // Loads of dy wait for the indices, so those of the next window are asked for early.
        constexpr std::int64_t line = 64 / sizeof(T);
        for (std::int64_t c = p.c; c < 2 * p.c; c += line) __builtin_prefetch(dy + at + c);
        return [winner = winners.of(at), gradient = dy + at, tap](std::int64_t c) {
          return Index<T>(winner[c]) == tap ? gradient[c] : T(0);
        };
      };
    });
  });
}

void avg_pool_forward_cpu(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = p.y_slice.first_of<T>(ports[1]);
    const std::int64_t out_h = p.out_h(), out_w = p.out_w(), pitch = p.y_slice.pitch(p.c);
    parallel_for(p.n * out_h, [&](std::int64_t row) {
      const std::int64_t n = row / out_h, oy = row % out_h;
      const PoolRange rows = taps_of(oy, p.h, p.kernel_h, p.stride_h, p.pad_h);
      for (std::int64_t ox = 0; ox < out_w; ++ox) {
        const PoolRange columns = taps_of(ox, p.w, p.kernel_w, p.stride_w, p.pad_w);
        const std::int64_t origin =
            ((n * p.h + oy * p.stride_h - p.pad_h) * p.w + ox * p.stride_w - p.pad_w) * p.c;
        const T share = static_cast<T>(share_of(p, oy, ox));
        for (std::int64_t c = 0; c < p.c; c += tile) {
          with_width(std::min(tile, p.c - c), [&](auto width) {
            average_window(p, x, origin + c, rows, columns, share, width, y + (row * out_w + ox) * pitch + c);
          });
        }
      }
    });
  });
}

void avg_pool_backward_cpu(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = ports[0].as<T>();
    const auto of = [&](std::int64_t at, std::int64_t oy, std::int64_t ox, std::int64_t, std::int64_t) {
      const T share = static_cast<T>(share_of(p, oy, ox));
      return [gradient = dy + at, share](std::int64_t c) { return gradient[c] * share; };
    };
    gather_windows(p, ports[1].as<T>(), [&](std::int64_t, std::int64_t) { return of; });
  });
}

void global_avg_pool_forward_cpu(const GlobalPoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = ports[1].as<T>();
    const std::int64_t tiles = (p.c + tile - 1) / tile, pixels = p.h * p.w;
    parallel_for(p.n * tiles, [&](std::int64_t i) {
      const std::int64_t n = i / tiles, c = i % tiles * tile;
      with_width(std::min(tile, p.c - c), [&](auto width) {
        mean_of_pixels(x + n * pixels * p.c + c, pixels, p.c, width, y + n * p.c + c);
      });
    });
  });
}

void global_avg_pool_backward_cpu(const GlobalPoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = ports[0].as<T>();
    T* dx = ports[1].as<T>();
    const T share = static_cast<T>(1.0 / static_cast<double>(p.h * p.w));
    const bool past_cache = writes_past_cache(dx, p.c, p.n * p.h * p.w);
    parallel_for(p.n * p.h, [&](std::int64_t row) {
      const T* gradient = dy + row / p.h * p.c;
      for (std::int64_t i = row * p.w; i < (row + 1) * p.w; ++i) {
        write_row(dx + i * p.c, p.c, past_cache, [&](std::int64_t c) { return gradient[c] * share; });
      }
      finish_writes(past_cache);
    });
  });
}

}  // namespace fovea
