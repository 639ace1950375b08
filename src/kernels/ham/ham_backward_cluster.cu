// ham backward, one thread-block cluster per image, one tensor of the image kept in its distributed shared memory.
// With r = x, G = dy, u = r (S + W), o = sigmoid(u), q = G r o (1 - o):
//
//   m = q r      dS = sum_c m      ds = dS S (1 - S)      dW = sum_p m -> sigmoid, fc2, ReLU, fc1 -> dA
//   d' = G o + q (S + W) + ds w      dx = d' + dA / (H W)      dw = sum ds r      db = sum ds
//   scse: m = G r, d' = G (S + W) + ds w
//
// Idea: only the constant dA / (H W) of each channel needs the whole image. So x is brought into shared memory
// by asynchronous copies, G is read ahead into registers, a warp finishes d' of its pixels and puts it where x
// was; dW, dw and db stay in registers over all its pixels. dA is computed in slices by the blocks of the
// cluster and gathered over distributed shared memory, and dx = d' + dA / (H W) leaves with streaming stores.
//
// d' of a bf16 image is kept as 16-bit fixed point with a scale of each pixel, a bound of |d'| over its channels:
// the error is at most 1.6e-5 of that bound, 1/250 of what dx is rounded by. (In bf16 it would be as large as that
// rounding, and a dA / (H W) below half a unit of d' would be lost altogether, in every pixel alike.)
//
// Traffic: x and dy once, dx once, the small tensors once: Cost's bytes; scratch of 2 C + hidden + 1 values per
// image, written and read once.
// Launch: N clusters of ham_cluster_shape() blocks; then ham_weights.hpp's sums. All sums in a fixed order.
#include "kernels/cuda/scratch.hpp"
#include "kernels/ham/ham_cluster.hpp"
#include "kernels/ham/ham_weights.hpp"

namespace fovea::SIMT_WORLD {
namespace {

// How d' waits in the tile. `bound` is at least |d'| over the channels of a pixel.
template <class T>
struct Deferred {
  template <class A>
  static __device__ __forceinline__ A scale_of(A) {
    return A(1);
  }
  template <class A>
  static __device__ __forceinline__ A inverse_of(A) {
    return A(1);
  }
  static __device__ __forceinline__ T encode(T d, T) { return d; }
  static __device__ __forceinline__ T decode(T d, T) { return d; }
};

// Adding 2^23 + 2^15 leaves the rounded value, shifted to be positive, in the low half of the float. A NaN or an
// infinity makes its pixel's scale, so all of the pixel; ds has spread it there before.
template <>
struct Deferred<simt::bf16> {
  static constexpr float shift = 8388608.0f + 32768.0f, largest = 32767.0f, smallest = 1e-30f;
  static __device__ __forceinline__ float scale_of(float bound) { return bound / largest; }
  static __device__ __forceinline__ float inverse_of(float bound) {
    return bound > smallest ? largest / bound : 0.0f;
  }
  static __device__ __forceinline__ simt::bf16 encode(float d, float inverse) {
    simt::bf16 word;
    word.bits = static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, d * inverse + shift));
    return word;
  }
  static __device__ __forceinline__ float decode(simt::bf16 word, float scale) {
    return (__builtin_bit_cast(float, 0x4B000000u | word.bits) - shift) * scale;
  }
};

// B pixels of dy in registers, as they came.
template <class T, int V, int B>
struct RawPixels {
  simt::Vec<T, V> at[B][lane_channels / V];

  __device__ __forceinline__ void load(const T* dy, int pixel, int pixels, const Panel& panel) {
#pragma unroll
    for (int b = 0; b < B; ++b) {
      if (pixel + b >= pixels) continue;
      const T* from = dy + static_cast<std::size_t>(pixel + b) * panel.channels;
#pragma unroll
      for (int k = 0; k < lane_channels / V; ++k) {
        if (Panel::at<V>(k) < panel.count) at[b][k] = simt::load_readonly<V>(from + Panel::at<V>(k));
      }
    }
  }
};

template <class A>
struct ChannelSums {
  A m[lane_channels], dw[lane_channels];
};

template <class A>
__device__ __forceinline__ A absolute(A v) {
  return v < A(0) ? -v : v;
}

// One warp's pixels, B at a time; dy is read `depth` times as far ahead. Registers decide: those of f32 and f64
// hold fewer threads, which must overlap more of their own.
template <class T, int V>
struct WarpBackward {
  using A = Accumulator<T>;
  static constexpr int B = sizeof(T) == 4 && V > 1 ? 2 : 1, depth = sizeof(T) == 2 && V > 1 ? 2 : 1;

  T* tile;  // of these pixels, as are the next two
  A *s, *scale;
  const A *w, *wgt;
  A w_bound;  // of |w|
  Panel panel;
  int pixels;

  // d without ds w; adds m to the channel sums. total[b] and bound[b] become this lane's sum of m and bound of |d|.
  template <bool scse>
  __device__ __forceinline__ void gate(int p, const RawPixels<T, V, B>& dy, A (&d)[B][lane_channels],
                                       ChannelSums<A>& sums, A (&total)[B], A (&bound)[B]) const {
#pragma unroll
    for (int b = 0; b < B; ++b) total[b] = bound[b] = A(0);
#pragma unroll
    for (int k = 0; k < lane_channels / V; ++k) {
      const int c = Panel::at<V>(k);
      if (c >= panel.count) continue;
      A channel_gate[V];
      load_values<V>(channel_gate, wgt + c);
#pragma unroll
      for (int b = 0; b < B; ++b) {
        if (p + b >= pixels) continue;
        const simt::Vec<T, V> r = simt::load<V>(tile + (p + b) * panel.channels + c);
        const A spatial = s[p + b];
#pragma unroll
        for (int e = 0; e < V; ++e) {
          const auto [m, part] =
              gate_gradient<scse, T>(A(r[e]), A(dy.at[b][k][e]), spatial + channel_gate[e]);
          sums.m[k * V + e] += m;
          total[b] += m;
          d[b][k * V + e] = part;
          bound[b] = max(bound[b], absolute(part));
        }
      }
    }
  }

  // d' into the tile, ds r into the channel sums.
  __device__ __forceinline__ void finish(int p, const A (&d)[B][lane_channels], const A (&ds)[B],
                                         const A (&inverse)[B], ChannelSums<A>& sums) const {
#pragma unroll
    for (int k = 0; k < lane_channels / V; ++k) {
      const int c = Panel::at<V>(k);
      if (c >= panel.count) continue;
      A weight[V];
      load_values<V>(weight, w + c);
#pragma unroll
      for (int b = 0; b < B; ++b) {
        if (p + b >= pixels) continue;
        T* at = tile + (p + b) * panel.channels + c;
        const simt::Vec<T, V> r = simt::load<V>(at);
        simt::Vec<T, V> out;
#pragma unroll
        for (int e = 0; e < V; ++e) {
          sums.dw[k * V + e] += ds[b] * A(r[e]);
          out[e] = Deferred<T>::encode(d[b][k * V + e] + ds[b] * weight[e], inverse[b]);
        }
        simt::store(at, out);
      }
    }
  }

  // All pixels; returns the sum of ds.
  template <bool scse, class Ready>
  __device__ __forceinline__ A run(const T* dy, ChannelSums<A>& sums, Ready&& ready) const {
    A ds_sum = A(0);
    RawPixels<T, V, B> ahead[depth];
#pragma unroll
    for (int i = 0; i < depth; ++i) ahead[i].load(dy, i * B, pixels, panel);
    for (int p = 0; p < pixels; p += B) {
      ready(min(p + B, pixels));
      A d[B][lane_channels], total[B], bound[B], ds[B], inverse[B];
      gate<scse>(p, ahead[0], d, sums, total, bound);
#pragma unroll
      for (int i = 1; i < depth; ++i) ahead[i - 1] = ahead[i];
      ahead[depth - 1].load(dy, p + depth * B, pixels, panel);
      warp_sums(total);
      if constexpr (sizeof(T) == 2) warp_bounds(bound);
#pragma unroll
      for (int b = 0; b < B; ++b) {
        const A spatial = s[min(p + b, pixels - 1)];
        ds[b] = total[b] * spatial * (A(1) - spatial);
        bound[b] += absolute(ds[b]) * w_bound;  // a NaN of ds stays
        inverse[b] = Deferred<T>::inverse_of(bound[b]);
        ds_sum += ds[b];  // 0 where there is no pixel
        if (p + b < pixels && simt::lane() == 0) scale[p + b] = Deferred<T>::scale_of(bound[b]);
      }
      finish(p, d, ds, inverse, sums);
    }
    __syncwarp();
    return ds_sum;
  }

  static __device__ __forceinline__ void warp_bounds(A (&values)[B]) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
      for (int b = 0; b < B; ++b) {
        values[b] = max(values[b], __shfl_xor_sync(simt::all_lanes, values[b], offset));
      }
    }
  }

  // dx = d' + mean.
  __device__ __forceinline__ void write(const A* mean, T* dx) const {
    A constant[lane_channels];
    load_panel<V>(constant, mean, panel);
#pragma unroll(unrolled_pixels <V, A>)
    for (int p = 0; p < pixels; ++p) {
      const A unit = scale[p];
#pragma unroll
      for (int k = 0; k < lane_channels / V; ++k) {
        const int c = Panel::at<V>(k);
        if (c >= panel.count) continue;
        const simt::Vec<T, V> kept = simt::load<V>(tile + p * panel.channels + c);
        simt::Vec<T, V> out;
#pragma unroll
        for (int e = 0; e < V; ++e) out[e] = T(Deferred<T>::decode(kept[e], unit) + constant[k * V + e]);
        simt::store_streaming(dx + static_cast<std::size_t>(p) * panel.channels + c, out);
      }
    }
  }
};

// What all threads need before the pixels: w, W and S of this block; returns this lane's bound of |w|.
template <class T, class A>
__device__ __forceinline__ A load_small(const HamBackward<T, A>& t, const HamDims& d, const BlockShare& block,
                                        const HamBackwardShared<T, A>& shared) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int c = thread; c < d.channels; c += threads) {
    shared.w[c] = t.spatial_weight[c];
    shared.wgt[c] = t.wgt[block.image * d.channels + c];
  }
  for (int p = thread; p < block.size; p += threads)
    shared.s[p] = t.s[block.image * d.pixels + block.begin + p];
  __syncthreads();
  A bound = A(0);
  for (int c = static_cast<int>(simt::lane()); c < d.channels; c += 32)
    bound = max(bound, absolute(shared.w[c]));
  return simt::warp_max(bound);
}

// The warps' sums become the block's.
template <int V, class T, class A>
__device__ __forceinline__ void merge_warps(const ChannelSums<A>& sums, A ds_sum, const Panel& panel,
                                            const HamBackwardShared<T, A>& shared) {
  A* mine = shared.part + simt::warp() * panel.channels;
  if (simt::lane() == 0) shared.ds_part[simt::warp()] = ds_sum;
  store_panel<V>(mine, sums.m, panel);
  __syncthreads();
  sum_warps(shared.part, panel.channels, panel.channels, [&](int c, A total) { shared.dwgt[c] = total; });
  sum_warps(shared.ds_part, 1, 1, [&](int, A total) { *shared.ds = total; });
  __syncthreads();
  store_panel<V>(mine, sums.dw, panel);
  __syncthreads();
  sum_warps(shared.part, panel.channels, panel.channels, [&](int c, A total) { shared.dw[c] = total; });
}

// dW -> sigmoid, fc2, ReLU, fc1 -> dA/(HW), slice by slice; every block ends with all of it. What the image adds
// to the parameters' gradients goes to `rows`.
template <class T, class A>
__device__ __forceinline__ void back_to_mean(const HamBackward<T, A>& t, const HamDims& d,
                                             const BlockShare& block, const HamBackwardShared<T, A>& shared,
                                             const HamGradientRows<A>& rows) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const Slice channels(d.channels, block);
  const std::size_t image_c = block.image * d.channels;
  simt::cluster_sync();
  for (int c = channels.begin + thread; c < channels.end; c += threads) {
    const A open = shared.wgt[c];
    shared.dwgt[c] = sum_over_cluster(shared.dwgt, c, block) * open * (A(1) - open);
    rows.dlogit2[image_c + c] = shared.dwgt[c];
    rows.dw[image_c + c] = sum_over_cluster(shared.dw, c, block);
  }
  if (block.rank == 0 && thread == 0) rows.db[block.image] = sum_over_cluster(shared.ds, 0, block);
  __syncthreads();
  const int own = channels.end - channels.begin;
  const A* fc2_rows = t.fc2_weight + static_cast<std::size_t>(channels.begin) * d.hidden;
  column_products(LayerWeights<A>{fc2_rows, own, d.hidden, d.hidden}, shared.dwgt + channels.begin,
                  shared.part, [&](int j, A sum) { shared.dz_part[j] = sum; });
  simt::cluster_sync();
  for (int j = thread; j < d.hidden; j += threads) {
    const A sum = sum_over_cluster(shared.dz_part, j, block);
    shared.dz[j] = t.z[block.image * d.hidden + j] <= A(0) ? A(0) : sum;
    if (block.rank == 0) rows.dz[block.image * d.hidden + j] = shared.dz[j];
  }
  __syncthreads();
  column_products(LayerWeights<A>{t.fc1_weight + channels.begin, d.hidden, own, d.channels}, shared.dz,
                  shared.part, [&](int i, A sum) { shared.dmean[channels.begin + i] = sum / A(d.pixels); });
  simt::cluster_sync();
  gather_slices(shared.dmean, d.channels, block);
  __syncthreads();
}

template <class T>
constexpr int backward_threads = sizeof(T) == 2 ? 512 : 256;

template <class T, int V>
__global__ void __launch_bounds__(backward_threads<T>, 1)
    ham_backward_kernel(HamBackward<T, Accumulator<T>> t, HamDims d, bool scse,
                        HamGradientRows<Accumulator<T>> rows) {
  using A = Accumulator<T>;
  const auto shared = shared_arrays<HamBackwardShared<T, A>>(d);
  const BlockShare block(d);
  const WarpShare share(block.size);
  const std::size_t first = (block.image * d.pixels + block.begin + share.begin) * d.channels;
  T* tile = shared.tile + share.begin * d.channels;
  WarpTile<V, T> loading(tile, t.x + first, share.size(), d.channels);
  const A w_bound = load_small(t, d, block, shared);
  const Panel panel(d.channels, 0);
  const WarpBackward<T, V> warp{
      tile,        shared.s + share.begin, shared.scale + share.begin, shared.w, shared.wgt, w_bound, panel,
      share.size()};
  {
    ChannelSums<A> sums;
    clear(sums.m);
    clear(sums.dw);
    const auto ready = [&](int needed) { loading.wait_for(needed); };
    const A ds_sum = scse ? warp.template run<true>(t.dy + first, sums, ready)
                          : warp.template run<false>(t.dy + first, sums, ready);
    merge_warps<V>(sums, ds_sum, panel, shared);
  }
  back_to_mean(t, d, block, shared, rows);
  warp.write(shared.dmean, t.dx + first);
  simt::cluster_sync();  // others may still gather this block's slice of dA
}

template <class T, int V>
void backward(const HamProblem& p, const HamBackward<T, Accumulator<T>>& t, Stream stream) {
  using A = Accumulator<T>;
  const HamClusterShape shape = ham_cluster_shape(p, simt::limits(), HamDirection::backward).value();
  const Scratch<A> dlogit2(p.n * p.c, stream, "dlogit2"), dz(p.n * p.hidden, stream, "dz"),
      dw(p.n * p.c, stream, "dw of the images"), db(p.n, stream, "db of the images");
  const HamGradientRows<A> rows{dlogit2.data(), dz.data(), dw.data(), db.data(), static_cast<int>(p.n)};
  simt::launch("ham.backward cluster", &ham_backward_kernel<T, V>, launch_of(p, shape, stream), t,
               dims_of(p, shape), p.scse != 0, rows);
  sum_weights(p, t, rows, stream);
}

}  // namespace

bool supports_ham_backward_cluster(const HamProblem& p) {
  return on_this_machine(
             [&](const simt::Limits& limits) { return ham_cluster_shape(p, limits, HamDirection::backward); })
      .has_value();
}

void ham_backward_cluster(const HamProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[9].data});
  visit_vector(p.dtype, p.c, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    backward<T, vector>(p, HamBackward<T, Accumulator<T>>(ports), stream);
  });
}

}  // namespace fovea::SIMT_WORLD
