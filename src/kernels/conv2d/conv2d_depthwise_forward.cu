// Depthwise convolution by strips: forward and data gradient (as many groups as channels, one filter each).
//
//   y[n,p,q,c] = act( b[c] + sum_{r,s} x[n, p stride - pad + r dilation, ..., c] w[c,r,s] )
//
// Idea: a thread holds a strip of 8 outputs of one row (4 in bf16 and fp64) of 16 bytes of channels. For each row of the
// filter its columns lie in registers, and a vector of x is loaded once and multiplied by all of them; so a 7x7 filter costs
// 14 loads for 56 vectors of products. The filters of a tile of channels lie in shared memory as [tap][channel], at most 49
// taps at a time; larger filters come in several goes. Filters of other sizes, strides and dilations take a load for each
// product. The data gradient is the same map with turned filters; at a stride, taps that reach no whole output are passed
// over.
//
// Traffic: Cost's bytes where the rows above and below a strip come from the first two caches: the strips of a block lie
// next to each other. Launch: 8 lanes along the channels and 32 strips to a block of 256 threads, at most about eight blocks
// for each multiprocessor, which go round.
#include <algorithm>

#include "kernels/conv2d/conv2d_depthwise_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

constexpr int strip_threads = DepthwiseStrips::threads, strip_blocks_at_once = 2;
constexpr int most_taps = 49;  // of a go

// Fills `filter` with rows [first, end) of the tile's filters; channels beyond the last have zeros.
template <int width, class T, class A>
__device__ __forceinline__ void load_filter(A (&filter)[most_taps][width], const T* w, const DeviceMap& m,
                                            int first_channel, int first, int end) {
  const int taps = m.rows.taps * m.columns.taps, count = (end - first) * m.columns.taps;
  for (int i = static_cast<int>(threadIdx.x); i < count * width; i += strip_threads) {
    const int tap = first * m.columns.taps + i / width, channel = first_channel + i % width;
    const std::int64_t at = std::int64_t{channel} * taps + (m.turned ? taps - 1 - tap : tap);
    filter[i / width][i % width] = channel < m.channels ? A(w[at]) : A(0);
  }
}

// One row of the filter over a strip; `x` is the row of inputs, from the first channel on.
template <int S, int V, int outputs, class T, class A, class Filter>
__device__ __forceinline__ void add_row(const T* x, const Filter& filter, int first_tap, int lane_channel,
                                        const DeviceMap& m, int output, A (&sum)[outputs][V]) {
  if constexpr (S > 0) {
    A columns[S][V];
#pragma unroll
    for (int s = 0; s < S; ++s) load_values<V>(columns[s], &filter[first_tap + s][lane_channel]);
    for_each_meeting<S, V, outputs>(x, m, output, 0, [&](const A(&value)[V], int i, int s) {
#pragma unroll
      for (int v = 0; v < V; ++v) sum[i][v] += value[v] * columns[s][v];
    });
  } else {
    for (int s = 0; s < m.columns.taps; ++s) {
      A weight[V];
      load_values<V>(weight, &filter[first_tap + s][lane_channel]);
      for_each_meeting<0, V, outputs>(x, m, output, s, [&](const A(&value)[V], int i, int) {
#pragma unroll
        for (int v = 0; v < V; ++v) sum[i][v] += value[v] * weight[v];
      });
    }
  }
}

template <int V, int outputs, class A>
__device__ __forceinline__ void start_sums(A (&sum)[outputs][V], const A* bias) {
  A value[V] = {};
  if (bias != nullptr) load_values<V>(value, bias);
#pragma unroll
  for (int i = 0; i < outputs; ++i) {
#pragma unroll
    for (int v = 0; v < V; ++v) sum[i][v] = value[v];
  }
}

template <int V, int outputs, class T, class A>
__device__ __forceinline__ void store_strip(A (&sum)[outputs][V], bool relu, int left, int channels, T* y) {
#pragma unroll
  for (int i = 0; i < outputs; ++i) {
    if (i >= left) continue;
#pragma unroll
    for (int v = 0; v < V; ++v) sum[i][v] = relu && sum[i][v] < A(0) ? A(0) : sum[i][v];  // NaN passes
    store_as<V>(y + i * channels, sum[i]);
  }
}

template <class T, int V, int S>
__global__ void __launch_bounds__(strip_threads, strip_blocks_at_once)
    depthwise_strips_kernel(const T* x, const T* w, const Accumulator<T>* bias, bool relu, DeviceMap m,
                            DepthwiseStrips strips, T* y) {
  using A = Accumulator<T>;
  constexpr int outputs = strip_outputs<V>, width = DepthwiseStrips::most_lanes * V;
  SIMT_SHARED(A, filter, [most_taps][width]);
  const auto thread = static_cast<int>(threadIdx.x), tiles = strips.tiles;
  const int tile = static_cast<int>(blockIdx.x) % tiles, first_channel = tile * strips.lanes * V;
  const int lane_channel = thread % strips.lanes * V, channel = first_channel + lane_channel;
  const int rows_of_go = most_taps / m.columns.taps;
  const int step = strip_threads / strips.lanes, blocks = static_cast<int>(gridDim.x) / tiles;
  bool loaded = false;
  for (std::int64_t group = blockIdx.x / static_cast<unsigned>(tiles); group * step < strips.count;
       group += blocks) {
    const std::int64_t strip = group * step + thread / strips.lanes;
    const bool active = strip < strips.count && channel < m.channels;
    const DepthwisePlace at(strip, strips, m.rows.out, outputs);
    A sum[outputs][V];
    start_sums<V>(sum, active && bias != nullptr ? bias + channel : nullptr);
    for (int first = 0; first < m.rows.taps; first += rows_of_go) {
      const int end = min(m.rows.taps, first + rows_of_go);
      if (!loaded) {
        __syncthreads();  // the go before is read
        load_filter<width>(filter, w, m, first_channel, first, end);
        __syncthreads();
      }
      loaded = rows_of_go >= m.rows.taps;
      for (int r = first; active && r < end; ++r) {
        const int row = m.rows.input_of(at.output_row, r);
        if (row < 0) continue;
        const std::int64_t input_row = std::int64_t{at.image} * m.rows.in + row;
        add_row<S>(x + input_row * m.columns.in * m.channels + channel, filter, (r - first) * m.columns.taps,
                   lane_channel, m, at.output, sum);
      }
    }
    if (!active) continue;
    store_strip(sum, relu, m.columns.out - at.output, m.channels,
                y + (at.row * m.columns.out + at.output) * m.channels + channel);
  }
}

void run(const simt::LaunchName& name, Dtype dtype, std::int64_t n, const DeviceMap& m, const View& x,
         const View& w, const View& bias, bool relu, const View& y, Stream stream) {
  visit_vector(dtype, m.channels, aligned_16({x.data, bias.data, y.data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    const DepthwiseStrips strips = depthwise_strips(n * m.rows.out, m.columns.out, m.channels, vector);
    const simt::Launch launch{
        .grid = static_cast<unsigned>(strips.tiles * depthwise_blocks(strips, simt::limits())),
        .block = strip_threads,
        .stream = stream_of(stream)};
    visit_columns(m, [&](auto columns) {
      simt::launch(name, &depthwise_strips_kernel<T, vector, columns>, launch, x.as<T>(), w.as<T>(),
                   bias.as<Accumulator<T>>(), relu, m, strips, y.as<T>());
    });
  });
}

}  // namespace

// Rows and counts of 32 bits; rows of the filter that fit shared memory.
bool supports_conv2d_depthwise(const Conv2dProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  const std::int64_t widest = std::max(p.w, p.out_w()) + p.dilation_w * p.s,
                     tallest = std::max(p.h, p.out_h());
  return p.c > 1 && p.groups == p.c && p.k == p.c && p.s <= most_taps && p.c <= most / 64 &&
         widest * p.c <= most && p.r * p.s <= 4096 && p.n * tallest * std::max(p.w, p.out_w()) <= most &&
         p.dilation_h * p.r + tallest * p.stride_h <= most && p.out_w() * p.stride_w <= most &&
         p.y_slice.is_whole() && runs_here();
}

void conv2d_forward_depthwise(const Conv2dProblem& p, Ports ports, Stream stream) {
  run("conv2d.forward depthwise", p.dtype, p.n, depthwise_forward_map<int>(p), ports[0], ports[1], ports[2],
      p.relu != 0, ports[3], stream);
}

void conv2d_backward_data_depthwise(const Conv2dProblem& p, Ports ports, Stream stream) {
  run("conv2d.backward_data depthwise", p.dtype, p.n, depthwise_backward_map<int>(p), ports[0], ports[1],
      View{}, false, ports[2], stream);
}

}  // namespace fovea::SIMT_WORLD
