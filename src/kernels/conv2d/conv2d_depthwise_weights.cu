// Depthwise convolution by strips: the gradients of filters and bias.
//
//   dw[c,r,s] = sum_{n,p,q} x[n, p stride - pad + r dilation, ..., c] dy[n,p,q,c]      db[c] = sum_{n,p,q} dy
//
// Idea: a warp takes one row of the filter and a part of the strips (conv2d_depthwise_forward.cu): with 16 bytes of channels
// to a lane it holds a strip of dy and the row's sums in registers, and multiplies each vector of x by all outputs that it
// meets. The warps of a block take the rows of the filter over the same strips, so that six of seven loads are
// expected to come from the first cache. Neither shared memory nor barriers: the lanes of a warp that share channels are added by shuffles, and each
// part is written once. Filters of other sizes, strides and dilations have a warp for each tap instead.
//
// Traffic: Cost's bytes where the rows of a block's strips stay in the first cache, dy once more for db, and parts, a value
// for each tap, channel and part, written and read. Launch: up to 8 warps to a block, about two blocks for each
// multiprocessor; a block for 32 channels of a tap to merge. Sums in a fixed order: at most 256 outputs of a lane, a tree over
// the lanes, parts in double.
#include "kernels/conv2d/conv2d_depthwise_device.hpp"
#include "kernels/cuda/columns.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// The strip's dy; outputs beyond the row are zeros.
template <int V, int outputs, class T, class A>
__device__ __forceinline__ void load_strip(A (&gradient)[outputs][V], const T* dy, int left, int channels) {
#pragma unroll
  for (int i = 0; i < outputs; ++i) {
#pragma unroll
    for (int v = 0; v < V; ++v) gradient[i][v] = A(0);
    if (i < left) load_as<V>(gradient[i], dy + i * channels);
  }
}

// Partials are [tap][part][channel].
template <class T, int V, int S>
__global__ void __launch_bounds__(DepthwiseStrips::threads, 2)
    depthwise_weights_partial(const T* x, const T* dy, DeviceMap m, DepthwiseStrips strips, DepthwiseParts p,
                              Accumulator<T>* partials) {
  using A = Accumulator<T>;
  constexpr int outputs = strip_outputs<V>, sums = S > 0 ? S : 1;
  const int tile = static_cast<int>(blockIdx.x) % strips.tiles,
            rest = static_cast<int>(blockIdx.x) / strips.tiles;
  const int unit = rest % p.groups * p.warps + static_cast<int>(simt::warp()), part = rest / p.groups;
  const int units = S > 0 ? m.rows.taps : m.rows.taps * m.columns.taps;
  if (unit >= units) return;  // the whole warp; there are no barriers
  const auto lane = static_cast<int>(simt::lane());
  const int r = S > 0 ? unit : unit / m.columns.taps, s = S > 0 ? 0 : unit % m.columns.taps;
  const int channel = (tile * strips.lanes + lane % strips.lanes) * V;
  const std::int64_t begin = part * p.strips_per_part, end = min(strips.count, begin + p.strips_per_part);
  A sum[sums][V] = {};
  for (std::int64_t strip = begin + lane / strips.lanes; channel < m.channels && strip < end;
       strip += 32 / strips.lanes) {
    const DepthwisePlace at(strip, strips, m.rows.out, outputs);
    const int row = m.rows.input_of(at.output_row, r);
    if (row < 0) continue;
    A gradient[outputs][V];
    load_strip(gradient, dy + (at.row * m.columns.out + at.output) * m.channels + channel,
               m.columns.out - at.output, m.channels);
    const std::int64_t input_row = std::int64_t{at.image} * m.rows.in + row;
    for_each_meeting<S, V, outputs>(x + input_row * m.columns.in * m.channels + channel, m, at.output, s,
                                    [&](const A(&value)[V], int i, int k) {
#pragma unroll
                                      for (int v = 0; v < V; ++v) sum[k][v] += value[v] * gradient[i][v];
                                    });
  }
  __syncwarp();
#pragma unroll
  for (int k = 0; k < sums; ++k) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      for (int apart = strips.lanes; apart < 32; apart *= 2)
        sum[k][v] += __shfl_xor_sync(simt::all_lanes, sum[k][v], apart);
    }
    const std::int64_t tap = r * m.columns.taps + s + k;
    if (lane < strips.lanes && channel < m.channels)
      store_values<V>(partials + (tap * p.parts + part) * m.channels + channel, sum[k]);
  }
}

template <class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    depthwise_weights_merge(const A* partials, ColumnShape s, A* dw) {
  merge_sums<1>(partials, s, [&](std::int64_t tap, std::int64_t channel, const double(&sums)[1]) {
    dw[channel * s.matrices + tap] = A(sums[0]);
  });
}

}  // namespace

void conv2d_backward_weights_depthwise(const Conv2dProblem& p, Ports ports, Stream stream) {
  const DeviceMap m = depthwise_forward_map<int>(p);
  visit_vector(p.dtype, p.c, aligned_16({ports[0].data, ports[1].data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const T *x = ports[0].as<T>(), *dy = ports[1].as<T>();
    const DepthwiseStrips strips = depthwise_strips(p.n * m.rows.out, m.columns.out, p.c, vector);
    visit_columns(m, [&](auto columns) {
      const int units = columns > 0 ? m.rows.taps : m.rows.taps * m.columns.taps;
      const DepthwiseParts parts = depthwise_parts(strips, units, depthwise_outputs(vector), simt::limits());
      const ColumnShape merge{.matrices = p.r * p.s, .channels = p.c, .parts = parts.parts};
      const Scratch<A> partials(partial_count(merge, 1), stream, "filter gradients of the parts");
      const simt::Launch launch{.grid = static_cast<unsigned>(strips.tiles * parts.groups * parts.parts),
                                .block = static_cast<unsigned>(32 * parts.warps),
                                .stream = stream_of(stream)};
      simt::launch("conv2d.backward_weights depthwise, partial",
                   &depthwise_weights_partial<T, vector, columns>, launch, x, dy, m, strips, parts,
                   partials.data());
      simt::launch("conv2d.backward_weights depthwise, merge", &depthwise_weights_merge<A>,
                   merge_launch(merge, stream), partials.data(), merge, ports[2].as<A>());
    });
    if (ports[3]) {
      column_sums("conv2d.backward_weights depthwise, bias", dy, 1, p.n * p.out_h() * p.out_w(), p.c, 1,
                  ports[3].as<A>(), stream);
    }
  });
}

}  // namespace fovea::SIMT_WORLD
