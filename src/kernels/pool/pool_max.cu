// max_pool forward and backward.
//
//   forward    y = the largest of a window, its tap the index: four indices of two bits to a byte, or a byte each
//   backward   a window of its own for each pixel (stride = kernel, no padding): a thread takes a window and writes
//              the pixels below it; else a pixel asks the windows that hold it, in row-major order
//
// Idea: a thread takes 4 or 8 consecutive channels (16 bytes, 32 in double), so it owns whole bytes of packed indices
// and reads each window as vectors; neighbours in a warp are neighbours in memory. Where the channels do not divide
// so, four consecutive elements one by one, which are whole bytes, too. Nothing is added by two threads: no atomics.
//
// Traffic: forward Cost's bytes; overlapping windows find their rows in the caches. Backward Cost's bytes; in the
// second form dy and the indices are read once for each pixel of a window, all but the first time from the caches.
// Launch: a thread for each run, at most 64 blocks of 256 threads for each multiprocessor.
#include "kernels/pool/pool_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

// ---- indices: bytes of G (or 4) elements from element `at` on

template <int G, bool packed>
__device__ __forceinline__ void store_taps(std::uint8_t* indices, std::int64_t at, const int* taps,
                                           int count) {
  if constexpr (packed) {
    constexpr int elements = G == 1 ? 4 : G;
    simt::Vec<std::uint8_t, elements / 4> bytes;
#pragma unroll
    for (int i = 0; i < elements / 4; ++i) {
      bytes[i] = static_cast<std::uint8_t>(taps[4 * i] | taps[4 * i + 1] << 2 | taps[4 * i + 2] << 4 |
                                           taps[4 * i + 3] << 6);
    }
    if constexpr (elements == 4) {
      indices[at / 4] = bytes[0];
    } else {
      simt::store(indices + at / 4, bytes);
    }
  } else if constexpr (G == 1) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (e < count) indices[at + e] = static_cast<std::uint8_t>(taps[e]);
    }
  } else {
    simt::Vec<std::uint8_t, G> bytes;
#pragma unroll
    for (int e = 0; e < G; ++e) bytes[e] = static_cast<std::uint8_t>(taps[e]);
    simt::store(indices + at, bytes);
  }
}

template <int N, bool packed>
__device__ __forceinline__ void load_taps(int (&taps)[N], const std::uint8_t* indices, std::int64_t at) {
  if constexpr (!packed) {
    std::uint8_t bytes[N];
    load_values<N>(bytes, indices + at);
#pragma unroll
    for (int e = 0; e < N; ++e) taps[e] = bytes[e];
  } else if constexpr (N == 1) {
    taps[0] = indices[at / 4] >> 2 * (at % 4) & 3;
  } else {
    std::uint8_t bytes[N / 4];
    load_values<N / 4>(bytes, indices + at / 4);
#pragma unroll
    for (int e = 0; e < N; ++e) taps[e] = bytes[e / 4] >> 2 * (e % 4) & 3;
  }
}

// ---- forward

// `x` is at channel `channel` of the image's first pixel.
template <int N, class T, class A>
__device__ __forceinline__ void max_of_window(const T* x, const PoolDims& d, int out_row, int out_column,
                                              A* best, int* winner) {
  const DeviceRange rows = device_taps(out_row, d.h, d.kernel_h, d.stride_h, d.pad_h);
  const DeviceRange columns = device_taps(out_column, d.w, d.kernel_w, d.stride_w, d.pad_w);
  const int row = out_row * d.stride_h - d.pad_h, column = out_column * d.stride_w - d.pad_w;
  bool first = true;
  for (int r = rows.begin; r < rows.end; ++r) {
    const T* line = x + (static_cast<std::int64_t>(row + r) * d.w + column) * d.c;
#pragma unroll 2
    for (int s = columns.begin; s < columns.end; ++s) {
      A values[N];
      load_as<N>(values, line + static_cast<std::int64_t>(s) * d.c);
#pragma unroll
      for (int e = 0; e < N; ++e) {
        const bool takes = first || values[e] > best[e] || values[e] != values[e];
        best[e] = takes ? values[e] : best[e];
        winner[e] = takes ? r * d.kernel_w + s : winner[e];
      }
      first = false;
    }
  }
}

template <class T, int G, bool packed>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    max_pool_forward_kernel(const T* x, PoolDims d, std::int64_t count, T* y, std::uint8_t* indices) {
  using A = Accumulator<T>;
  constexpr int elements = G == 1 ? 4 : G;
  for_each_item(runs_of<G>(count), [&](std::int64_t run) {
    A best[elements] = {};
    int winner[elements] = {};
    for_each_pixel_of_run<G>(run, count, d.c, [&](int e, std::int64_t pixel, int channel, auto size) {
      constexpr int N = size.value;
      const PixelPlace place(pixel, d.out_h, d.out_w);
      const T* image = x + static_cast<std::int64_t>(place.image) * d.h * d.w * d.c + channel;
      max_of_window<N>(image, d, place.row, place.column, best + e, winner + e);
      store_as<N>(y + pixel * d.y_pitch + channel, best + e);
    });
    const std::int64_t at = run * elements;
    if (indices != nullptr)
      store_taps<G, packed>(indices, at, winner, static_cast<int>(min(count - at, std::int64_t{4})));
  });
}

// ---- backward

// The windows that hold a pixel.
template <class T, int G, bool packed>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    max_pool_backward_gather(const std::uint8_t* indices, const T* dy, PoolDims d, std::int64_t count,
                             T* dx) {
  using A = Accumulator<T>;
  for_each_item(runs_of<G>(count), [&](std::int64_t run) {
    for_each_pixel_of_run<G>(run, count, d.c, [&](int, std::int64_t pixel, int channel, auto size) {
      constexpr int N = size.value;
      const PixelPlace place(pixel, d.h, d.w);
      const DeviceRange rows = device_windows(place.row, d.out_h, d.kernel_h, d.stride_h, d.pad_h);
      const DeviceRange columns = device_windows(place.column, d.out_w, d.kernel_w, d.stride_w, d.pad_w);
      A sum[N] = {};
      for (int i = rows.begin; i < rows.end; ++i) {
        for (int j = columns.begin; j < columns.end; ++j) {
          const int tap =
              (place.row + d.pad_h - i * d.stride_h) * d.kernel_w + place.column + d.pad_w - j * d.stride_w;
          const std::int64_t at =
              ((static_cast<std::int64_t>(place.image) * d.out_h + i) * d.out_w + j) * d.c + channel;
          int taps[N];
          A gradient[N];
          load_taps<N, packed>(taps, indices, at);
          load_as<N>(gradient, dy + at);
#pragma unroll
          for (int e = 0; e < N; ++e) sum[e] += taps[e] == tap ? gradient[e] : A(0);
        }
      }
      store_as<N>(dx + pixel * d.c + channel, sum);
    });
  });
}

// Windows side by side: `cells` of G channels, the last of a row or column perhaps without a window of its own.
template <class T, int G, bool packed>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    max_pool_backward_cells(const std::uint8_t* indices, const T* dy, PoolDims d, int cells_h, int cells_w,
                            std::int64_t cells, T* dx) {
  using A = Accumulator<T>;
  using Count = std::conditional_t<G == 1, std::int64_t, unsigned>;
  for_each_item(cells, [&](std::int64_t cell) {
    const Count per_pixel = d.c / G, item = cell;
    const PixelPlace place(item / per_pixel, cells_h, cells_w);
    const int channel = static_cast<int>(item % per_pixel) * G;
    A gradient[G] = {};
    int taps[G] = {};
    if (place.row < d.out_h && place.column < d.out_w) {
      const std::int64_t at =
          ((static_cast<std::int64_t>(place.image) * d.out_h + place.row) * d.out_w + place.column) * d.c +
          channel;
      load_taps<G, packed>(taps, indices, at);
      load_as<G>(gradient, dy + at);
    }
    const int first_row = place.row * d.kernel_h, first_column = place.column * d.kernel_w;
    for (int r = 0; r < min(d.kernel_h, d.h - first_row); ++r) {
      for (int s = 0; s < min(d.kernel_w, d.w - first_column); ++s) {
        A out[G];
#pragma unroll
        for (int e = 0; e < G; ++e) out[e] = taps[e] == r * d.kernel_w + s ? gradient[e] : A(0);
        const std::int64_t row = static_cast<std::int64_t>(place.image) * d.h + first_row + r;
        store_as<G>(dx + (row * d.w + first_column + s) * d.c + channel, out);
      }
    }
  });
}

bool is_side_by_side(const PoolProblem& p) {
  return p.stride_h == p.kernel_h && p.stride_w == p.kernel_w && p.pad_h == 0 && p.pad_w == 0;
}

template <class T, int G, bool packed>
void backward(const PoolProblem& p, Ports ports, Stream stream) {
  const auto* indices = ports[0].as<std::uint8_t>();
  const T* dy = ports[1].as<T>();
  T* dx = ports[2].as<T>();
  const PoolDims d(p);
  if (is_side_by_side(p)) {
    const std::int64_t cells_h = (p.h + p.kernel_h - 1) / p.kernel_h,
                       cells_w = (p.w + p.kernel_w - 1) / p.kernel_w;
    const std::int64_t cells = p.n * cells_h * cells_w * (p.c / G);
    simt::launch("max_pool.backward vector, side by side", &max_pool_backward_cells<T, G, packed>,
                 element_launch(cells, stream), indices, dy, d, static_cast<int>(cells_h),
                 static_cast<int>(cells_w), cells, dx);
  } else {
    const std::int64_t count = p.x_shape().numel();
    simt::launch("max_pool.backward vector", &max_pool_backward_gather<T, G, packed>,
                 element_launch(runs_of<G>(count), stream), indices, dy, d, count, dx);
  }
}

}  // namespace

// Pixels and runs that 32 bits count.
bool supports_pool_vector(const PoolProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  const std::int64_t elements = std::max(p.x_shape().numel(), p.y_shape().numel());
  const std::int64_t reach = std::max({p.h + 2 * p.pad_h, p.w + 2 * p.pad_w, p.y_slice.pitch(p.c), p.stride_h,
                                       p.stride_w, p.kernel_h * p.kernel_w});
  return elements / p.c <= most && elements / 4 <= most && reach <= most / 2 && runs_here();
}

void max_pool_forward_vector(const PoolProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data});
  visit_slice_run(p, aligned, [&](auto zero, auto run) {
    using T = decltype(zero);
    const std::int64_t count = p.y_shape().numel();
    simt::launch(
        "max_pool.forward vector",
        p.packs_indices() ? &max_pool_forward_kernel<T, run, true> : &max_pool_forward_kernel<T, run, false>,
        element_launch(runs_of<run>(count), stream), ports[0].as<T>(), PoolDims(p), count,
        p.y_slice.first_of<T>(ports[1]), ports[2].as<std::uint8_t>());
  });
}

void max_pool_backward_vector(const PoolProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data});
  visit_pool_run(p.dtype, p.c, aligned, [&](auto zero, auto run) {
    using T = decltype(zero);
    if (p.packs_indices()) {
      backward<T, run, true>(p, ports, stream);
    } else {
      backward<T, run, false>(p, ports, stream);
    }
  });
}

}  // namespace fovea::SIMT_WORLD
