// avg_pool forward and backward, and global_avg_pool.
//
//   avg_pool          forward: sums of windows; backward: a pixel asks the windows that hold it, in row-major order
//   global_avg_pool   forward: the column sums of each image (columns.hpp), parts of it and then their sum;
//                     backward: a thread holds its channels' gradients and writes them down the rows
//
// Idea: as max_pool's kernels: 4 or 8 channels of a pixel to a thread, no atomics, one fixed order. Sums are made in
// float (double in double); the parts of an image are added in double.
//
// Traffic: Cost's bytes; overlapping windows find their rows in the caches. Launch: a thread for each run, at most 64
// blocks of 256 threads for each multiprocessor; global: column_shape().
#include "kernels/cuda/columns.hpp"
#include "kernels/pool/pool_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

// What the average of a window is divided by.
__device__ __forceinline__ int taps_counted(const PoolDims& d, int out_row, int out_column) {
  if (d.count_include_pad) {
    return device_padded_taps(out_row, d.h, d.kernel_h, d.stride_h, d.pad_h) *
           device_padded_taps(out_column, d.w, d.kernel_w, d.stride_w, d.pad_w);
  }
  return device_taps(out_row, d.h, d.kernel_h, d.stride_h, d.pad_h).size() *
         device_taps(out_column, d.w, d.kernel_w, d.stride_w, d.pad_w).size();
}

template <class T, int G>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    avg_pool_forward_kernel(const T* x, PoolDims d, std::int64_t count, T* y) {
  using A = Accumulator<T>;
  for_each_item(runs_of<G>(count), [&](std::int64_t run) {
    for_each_pixel_of_run<G>(run, count, d.c, [&](int, std::int64_t pixel, int channel, auto size) {
      constexpr int N = size.value;
      const PixelPlace place(pixel, d.out_h, d.out_w);
      const DeviceRange rows = device_taps(place.row, d.h, d.kernel_h, d.stride_h, d.pad_h);
      const DeviceRange columns = device_taps(place.column, d.w, d.kernel_w, d.stride_w, d.pad_w);
      const int column = place.column * d.stride_w - d.pad_w;
      A sum[N] = {};
      for (int r = rows.begin; r < rows.end; ++r) {
        const std::int64_t row =
            static_cast<std::int64_t>(place.image) * d.h + place.row * d.stride_h - d.pad_h + r;
        A line[N] = {};
#pragma unroll 2
        for (int s = columns.begin; s < columns.end; ++s) {
          A values[N];
          load_as<N>(values, x + (row * d.w + column + s) * d.c + channel);
#pragma unroll
          for (int e = 0; e < N; ++e) line[e] += values[e];
        }
#pragma unroll
        for (int e = 0; e < N; ++e) sum[e] += line[e];
      }
      const A taps = A(taps_counted(d, place.row, place.column));
#pragma unroll
      for (int e = 0; e < N; ++e) sum[e] /= taps;
      store_as<N>(y + pixel * d.y_pitch + channel, sum);
    });
  });
}

template <class T, int G>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    avg_pool_backward_kernel(const T* dy, PoolDims d, std::int64_t count, T* dx) {
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
          const A share = A(1) / A(taps_counted(d, i, j));
          const std::int64_t window = (static_cast<std::int64_t>(place.image) * d.out_h + i) * d.out_w + j;
          A gradient[N];
          load_as<N>(gradient, dy + window * d.c + channel);
#pragma unroll
          for (int e = 0; e < N; ++e) sum[e] += gradient[e] * share;
        }
      }
      store_as<N>(dx + pixel * d.c + channel, sum);
    });
  });
}

// Images are the matrices of the shape, pixels its rows.
template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    global_avg_pool_spread(const T* dy, ColumnShape s, T* dx) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  A gradient[V] = {};
  if (share.active) load_as<V>(gradient, dy + share.matrix * s.channels + share.channel);
#pragma unroll
  for (int v = 0; v < V; ++v) gradient[v] /= A(s.rows);
  for_each_rows<1>(
      share, [&](std::int64_t row, auto) { store_as<V>(dx + row * s.channels + share.channel, gradient); });
}

}  // namespace

void avg_pool_forward_vector(const PoolProblem& p, Ports ports, Stream stream) {
  visit_slice_run(p, aligned_16({ports[0].data, ports[1].data}), [&](auto zero, auto run) {
    using T = decltype(zero);
    const std::int64_t count = p.y_shape().numel();
    simt::launch("avg_pool.forward vector", &avg_pool_forward_kernel<T, run>,
                 element_launch(runs_of<run>(count), stream), ports[0].as<T>(), PoolDims(p), count,
                 p.y_slice.first_of<T>(ports[1]));
  });
}

void avg_pool_backward_vector(const PoolProblem& p, Ports ports, Stream stream) {
  visit_pool_run(p.dtype, p.c, aligned_16({ports[0].data, ports[1].data}), [&](auto zero, auto run) {
    using T = decltype(zero);
    const std::int64_t count = p.x_shape().numel();
    simt::launch("avg_pool.backward vector", &avg_pool_backward_kernel<T, run>,
                 element_launch(runs_of<run>(count), stream), ports[0].as<T>(), PoolDims(p), count,
                 ports[1].as<T>());
  });
}

// Channels that 32 bits count, and blocks that a grid holds.
bool supports_global_avg_pool_columns(const GlobalPoolProblem& p) {
  const auto fits = [&](const simt::Limits& limits) {
    const bool launches = p.c <= 0x7fffffff / 64 && fits_launch(column_shape(p.n, p.h * p.w, p.c, 1, limits));
    return launches ? std::optional(true) : std::nullopt;
  };
  return on_this_machine(fits).has_value();
}

void global_avg_pool_forward_columns(const GlobalPoolProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t pixels = p.h * p.w;
    column_sums("global_avg_pool.forward columns", ports[0].as<const T>(), p.n, pixels, p.c,
                1.0 / static_cast<double>(pixels), ports[1].as<T>(), stream);
  });
}

void global_avg_pool_backward_columns(const GlobalPoolProblem& p, Ports ports, Stream stream) {
  visit_vector(p.dtype, p.c, aligned_16({ports[0].data, ports[1].data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    const ColumnShape s = column_shape(p.n, p.h * p.w, p.c, vector, simt::limits());
    simt::launch(
        "global_avg_pool.backward columns", &global_avg_pool_spread<T, vector>,
        {.grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)},
        ports[0].as<T>(), s, ports[1].as<T>());
  });
}

}  // namespace fovea::SIMT_WORLD
