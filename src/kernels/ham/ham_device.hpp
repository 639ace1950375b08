// What ham's CUDA kernels share: how a warp holds a pixel, the gate and its gradient. Included by kernel
// files only.
//
// A warp takes one pixel at a time (or a few, to overlap their shuffles). Its lanes hold 512 channels in
// registers, a panel: lane l has the vectors l, l + 32, ... of V channels each, so that a warp's accesses are
// contiguous. Sums over pixels stay in registers while a warp goes through its pixels; more than 512 channels
// are several panels, one after another.
#pragma once

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/small_layers.hpp"
#include "kernels/cuda/values.hpp"
#include "kernels/ham/ham_shared.hpp"
#include "kernels/ham/kernels.hpp"
#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

constexpr int lane_channels = 16;
constexpr int panel_channels = 32 * lane_channels;

/// The channels [first, first + count) of `channels`.
struct Panel {
  int channels, first, count;
  __device__ __forceinline__ Panel(int channels, int first)
      : channels(channels), first(first), count(min(channels - first, panel_channels)) {}
  __device__ __forceinline__ bool is_first() const { return first == 0; }
  __device__ __forceinline__ bool is_last() const { return first + count == channels; }
  /// The first of the V channels of this lane's k-th vector, within the panel; it may lie beyond `count`.
  template <int V>
  static __device__ __forceinline__ int at(int k) {
    return (k * 32 + static_cast<int>(simt::lane())) * V;
  }
};

/// The pixels [begin, end) of `count` that this warp takes.
struct WarpShare {
  int begin, end;
  __device__ __forceinline__ explicit WarpShare(int count) {
    const int warp = static_cast<int>(simt::warp()), warps = static_cast<int>(blockDim.x / 32);
    begin = count * warp / warps;
    end = count * (warp + 1) / warps;
  }
  __device__ __forceinline__ int size() const { return end - begin; }
};

// ---- panels

/// This lane's channels of an array of C values; zeros beyond.
template <int V, class A>
__device__ __forceinline__ void load_panel(A (&to)[lane_channels], const A* from, const Panel& panel) {
#pragma unroll
  for (int k = 0; k < lane_channels / V; ++k) {
#pragma unroll
    for (int e = 0; e < V; ++e) to[k * V + e] = A(0);
    if (Panel::at<V>(k) < panel.count) load_values<V>(to + k * V, from + panel.first + Panel::at<V>(k));
  }
}

/// `to` is where the panel begins.
template <int V, class A>
__device__ __forceinline__ void store_panel(A* to, const A (&from)[lane_channels], const Panel& panel) {
#pragma unroll
  for (int k = 0; k < lane_channels / V; ++k) {
    if (Panel::at<V>(k) < panel.count) store_values<V>(to + Panel::at<V>(k), from + k * V);
  }
}

template <class A>
__device__ __forceinline__ void clear(A (&values)[lane_channels]) {
#pragma unroll
  for (int i = 0; i < lane_channels; ++i) values[i] = A(0);
}

// ---- the gate

/// sigmoid(u). For bf16 images one instruction of the special-function unit instead of two: tanh.approx is good
/// to 2^-11, an eighth of what y is rounded by.
template <class T, class A>
__device__ __forceinline__ A open_gate(A u) {
  if constexpr (sizeof(T) == 2) {
    return A(0.5) + A(0.5) * simt::fast_tanh(A(0.5) * u);
  } else {
    return simt::fast_sigmoid(u);
  }
}

template <bool scse, class T, class A>
__device__ __forceinline__ A gated(A r, A gate) {
  if constexpr (scse) return r * gate;
  return r * open_gate<T>(r * gate);
}

/// m, whose sums over channels and pixels are dS and dW, and d: dx but for the spatial and the mean term.
template <class A>
struct GateGradient {
  A m, d;
};
template <bool scse, class T, class A>
__device__ __forceinline__ GateGradient<A> gate_gradient(A r, A g, A gate) {
  if constexpr (scse) return {g * r, g * gate};
  const A open = open_gate<T>(r * gate);
  const A du = g * r * (open - open * open);
  return {du * r, g * open + du * gate};
}

// ---- sums over a warp, several at a time: their shuffles overlap

template <int B, class A>
__device__ __forceinline__ void warp_sums(A (&values)[B]) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
    for (int b = 0; b < B; ++b) values[b] += __shfl_xor_sync(simt::all_lanes, values[b], offset);
  }
}

/// values[lane], for lanes below B.
template <int B, class A>
__device__ __forceinline__ A pick(const A (&values)[B]) {
  A mine = values[0];
#pragma unroll
  for (int b = 1; b < B; ++b) mine = static_cast<int>(simt::lane()) == b ? values[b] : mine;
  return mine;
}

// ---- forward

/// Adds the panel of B pixels to the lane's channel sums; dot[b] becomes the pixel's part of the logit.
template <int V, int B, class T, class A>
__device__ __forceinline__ void project_pixels(const T* x, const Panel& panel, const A (&w)[lane_channels],
                                               A (&sum)[lane_channels], A (&dot)[B]) {
#pragma unroll
  for (int b = 0; b < B; ++b) dot[b] = A(0);
#pragma unroll
  for (int k = 0; k < lane_channels / V; ++k) {
    if (Panel::at<V>(k) >= panel.count) continue;
    const T* at = x + panel.first + Panel::at<V>(k);
    simt::Vec<T, V> values[B];
#pragma unroll
    for (int b = 0; b < B; ++b) values[b] = simt::load<V>(at + static_cast<std::size_t>(b) * panel.channels);
#pragma unroll
    for (int b = 0; b < B; ++b) {
#pragma unroll
      for (int e = 0; e < V; ++e) {
        const A r = A(values[b][e]);
        dot[b] += r * w[k * V + e];
        sum[k * V + e] += r;
      }
    }
  }
  warp_sums(dot);
}

/// s gathers the logits of B pixels from panel to panel; with the last it becomes S.
template <int B, class A>
__device__ __forceinline__ void add_logits(const A (&dot)[B], const Panel& panel, A bias, A* s) {
  const int lane = static_cast<int>(simt::lane());
  if (lane >= B) return;  // no collective below
  A logit = pick(dot);
  if (!panel.is_first()) logit += s[lane];
  s[lane] = panel.is_last() ? simt::fast_sigmoid(logit + bias) : logit;
}

/// Channel sums of `pixels` pixels into registers, and their logits. ready(i) returns when the first i pixels
/// can be read.
template <int V, int B, class T, class A, class Ready>
__device__ __forceinline__ void project_panel(const T* x, int pixels, const Panel& panel, const A* weight,
                                              A bias, A* s, A (&sum)[lane_channels], Ready&& ready) {
  A w[lane_channels];
  load_panel<V>(w, weight, panel);
  clear(sum);
  int p = 0;
  for (; p + B <= pixels; p += B) {
    ready(p + B);
    A dot[B];
    project_pixels<V>(x + static_cast<std::size_t>(p) * panel.channels, panel, w, sum, dot);
    add_logits(dot, panel, bias, s + p);
  }
  for (; p < pixels; ++p) {
    ready(p + 1);
    A dot[1];
    project_pixels<V>(x + static_cast<std::size_t>(p) * panel.channels, panel, w, sum, dot);
    add_logits(dot, panel, bias, s + p);
  }
}

/// Pixels in one turn of a loop that writes images: two, where registers allow it.
template <int V, class A>
constexpr int unrolled_pixels = V > 1 && sizeof(A) == 4 ? 2 : 1;

/// y of `pixels` pixels.
template <int V, bool scse, class T, class A>
__device__ __forceinline__ void apply_gate(const T* x, int pixels, int channels, const A* s, const A* wgt,
                                           T* y) {
  for (int first = 0; first < channels; first += panel_channels) {
    const Panel panel(channels, first);
    A w[lane_channels];
    load_panel<V>(w, wgt, panel);
#pragma unroll(unrolled_pixels <V, A>)
    for (int p = 0; p < pixels; ++p) {
      const A spatial = s[p];
      const std::size_t pixel = static_cast<std::size_t>(p) * channels + panel.first;
#pragma unroll
      for (int k = 0; k < lane_channels / V; ++k) {
        const int c = Panel::at<V>(k);
        if (c >= panel.count) continue;
        const simt::Vec<T, V> values = simt::load<V>(x + pixel + c);
        simt::Vec<T, V> out;
#pragma unroll
        for (int e = 0; e < V; ++e) out[e] = T(gated<scse, T>(A(values[e]), spatial + w[k * V + e]));
        simt::store_streaming(y + pixel + c, out);
      }
    }
  }
}

// ---- sums over the warps of a block; all its threads call this

/// total(c, sum over the warps of part[warp, c]), in order, for c in [0, count).
template <class A, class Out>
__device__ __forceinline__ void sum_warps(const A* part, int stride, int count, Out&& total) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  for (int c = static_cast<int>(threadIdx.x); c < count; c += static_cast<int>(blockDim.x)) {
    A sum = part[c];
    for (int w = 1; w < warps; ++w) sum += part[w * stride + c];
    total(c, sum);
  }
}

}  // namespace fovea::SIMT_WORLD
