// ham backward in two passes over the image: the form for any size, and for devices without clusters. With the
// terms of ham_backward_cluster.cu:
//
//   reduce    ds of each pixel; dW and db of a part of an image; x and dy are read
//   gate      dW -> sigmoid, fc2, ReLU, fc1 -> dA of an image, from the sums of its parts
//   apply     dx = G o + q (S+W) + ds w + dA/(HW), and dw of a part; x and dy are read again, dx written
//   weights   the gradients that sum over images: ham_weights.hpp
//
// Idea: recomputing the gate costs less than keeping d'; images go through the kernels in groups that fit a
// window of the second-level cache (ham_two_pass_shape()), so that apply finds x and dy there. Nothing of an image
// is rounded but dx. Any C: a warp takes 512 channels at a time, ds gathers over them.
//
// Traffic: Cost's bytes as long as the window holds, x and dy once more from memory where one image alone is
// larger. Scratch: ds, and 2 C values for each part of an image, written and read once.
// Launch: parts x images blocks of 256 threads for reduce and apply, one block per image for gate. All sums in a
// fixed order.
#include "kernels/cuda/scratch.hpp"
#include "kernels/ham/ham_two_pass.hpp"
#include "kernels/ham/ham_weights.hpp"

namespace fovea::SIMT_WORLD {
namespace {

// What the kernels leave for each other. A row is a part of an image.
template <class A>
struct Between {
  A *ds, *dmean;  // a pixel's; N,C: dA/(HW)
  A* dwgt;        // rows,C: dW
  HamGradientRows<A> rows;
};

// ds gathers the sums of m of B pixels from panel to panel; with the last it becomes dL/d(logit), which is
// returned, else zero.
template <int B, class A>
__device__ __forceinline__ A add_ds(const A (&total)[B], const Panel& panel, const A* s, A* ds) {
  const int lane = static_cast<int>(simt::lane());
  if (lane >= B) return A(0);  // no collective below
  A sum = pick(total);
  if (!panel.is_first()) sum += ds[lane];
  if (panel.is_last()) sum *= s[lane] * (A(1) - s[lane]);
  ds[lane] = sum;
  return panel.is_last() ? sum : A(0);
}

// The panel of B pixels: m into the channel sums and, summed over the channels, into total.
template <int V, int B, bool scse, class T, class A>
__device__ __forceinline__ void reduce_pixels(const T* x, const T* dy, const A* s,
                                              const A (&wgt)[lane_channels], const Panel& panel,
                                              A (&sum)[lane_channels], A (&total)[B]) {
#pragma unroll
  for (int b = 0; b < B; ++b) total[b] = A(0);
#pragma unroll
  for (int k = 0; k < lane_channels / V; ++k) {
    if (Panel::at<V>(k) >= panel.count) continue;
    simt::Vec<T, V> r[B], g[B];
#pragma unroll
    for (int b = 0; b < B; ++b) {
      const std::size_t at = static_cast<std::size_t>(b) * panel.channels + panel.first + Panel::at<V>(k);
      r[b] = simt::load_readonly<V>(x + at);
      g[b] = simt::load_readonly<V>(dy + at);
    }
#pragma unroll
    for (int b = 0; b < B; ++b) {
#pragma unroll
      for (int e = 0; e < V; ++e) {
        const A m = gate_gradient<scse, T>(A(r[b][e]), A(g[b][e]), s[b] + wgt[k * V + e]).m;
        total[b] += m;
        sum[k * V + e] += m;
      }
    }
  }
  warp_sums(total);
}

// A warp's pixels over one panel; returns this lane's sum of ds.
template <int V, bool scse, class T, class A>
__device__ __forceinline__ A reduce_panel(const T* x, const T* dy, int pixels, const Panel& panel, const A* s,
                                          const A* wgt_of_image, A* ds, A (&sum)[lane_channels]) {
  constexpr int batch = sizeof(A) == 8 || V == 1 ? 1 : 2;
  A wgt[lane_channels], ds_sum = A(0);
  load_panel<V>(wgt, wgt_of_image, panel);
  clear(sum);
  int p = 0;
  for (; p + batch <= pixels; p += batch) {
    A total[batch];
    const std::size_t at = static_cast<std::size_t>(p) * panel.channels;
    reduce_pixels<V, batch, scse>(x + at, dy + at, s + p, wgt, panel, sum, total);
    ds_sum += add_ds(total, panel, s + p, ds + p);
  }
  if constexpr (batch > 1) {
    for (; p < pixels; ++p) {
      A total[1];
      const std::size_t at = static_cast<std::size_t>(p) * panel.channels;
      reduce_pixels<V, 1, scse>(x + at, dy + at, s + p, wgt, panel, sum, total);
      ds_sum += add_ds(total, panel, s + p, ds + p);
    }
  }
  return ds_sum;
}

template <class A>
struct ReduceShared {
  WarpSums<A> channels;
  A ds[two_pass_threads / 32];
};

template <class T, int V>
__global__ void __launch_bounds__(two_pass_threads, blocks_at_once<T>)
    ham_backward_reduce(HamBackward<T, Accumulator<T>> t, PartDims d, bool scse, Between<Accumulator<T>> to) {
  using A = Accumulator<T>;
  auto& shared = simt::shared<ReduceShared<A>>();
  const PartShare share(d);
  const WarpShare warp(share.size);
  const std::size_t pixel = share.image * d.pixels + share.begin + warp.begin;
  const T *x = t.x + pixel * d.channels, *dy = t.dy + pixel * d.channels;
  const A *s = t.s + pixel, *wgt = t.wgt + share.image * d.channels;
  A ds_sum = A(0);
  for (int first = 0; first < d.channels; first += panel_channels) {
    const Panel panel(d.channels, first);
    A sum[lane_channels];
    ds_sum += scse ? reduce_panel<V, true>(x, dy, warp.size(), panel, s, wgt, to.ds + pixel, sum)
                   : reduce_panel<V, false>(x, dy, warp.size(), panel, s, wgt, to.ds + pixel, sum);
    store_panel<V>(shared.channels.part[simt::warp()], sum, panel);
    __syncthreads();
    A* out = to.dwgt + share.row * d.channels + first;
    sum_warps(shared.channels.part[0], panel_channels, panel.count, [&](int c, A total) { out[c] = total; });
    __syncthreads();
  }
  ds_sum = simt::warp_sum(ds_sum);
  if (simt::lane() == 0) shared.ds[simt::warp()] = ds_sum;
  __syncthreads();
  sum_warps(shared.ds, 1, 1, [&](int, A total) { to.rows.db[share.row] = total; });
}

template <class A>
struct GateShared {
  A part[gate_threads];
};

// The block reads what it wrote to dlogit2 and dz itself: a barrier orders that.
template <class T, class A>
__global__ void __launch_bounds__(gate_threads, 1)
    ham_backward_gate(HamBackward<T, A> t, PartDims d, Between<A> to) {
  auto& shared = simt::shared<GateShared<A>>();
  const std::size_t image = d.first_image + blockIdx.x;
  A *dlogit2 = to.rows.dlogit2 + image * d.channels, *dz = to.rows.dz + image * d.hidden,
    *dmean = to.dmean + image * d.channels;
  const A *wgt = t.wgt + image * d.channels, *z = t.z + image * d.hidden,
          *parts = to.dwgt + image * d.parts * d.channels;
  for (int c = static_cast<int>(threadIdx.x); c < d.channels; c += static_cast<int>(blockDim.x))
    dlogit2[c] = sum_rows(parts + c, d.parts, d.channels) * wgt[c] * (A(1) - wgt[c]);
  __syncthreads();
  column_products(LayerWeights<A>{t.fc2_weight, d.channels, d.hidden, d.hidden}, dlogit2, shared.part,
                  [&](int j, A sum) { dz[j] = z[j] <= A(0) ? A(0) : sum; });
  column_products(LayerWeights<A>{t.fc1_weight, d.hidden, d.channels, d.channels}, dz, shared.part,
                  [&](int c, A sum) { dmean[c] = sum / A(d.pixels); });
}

// dx of a warp's pixels over one panel, and their dw.
template <int V, bool scse, class T, class A>
__device__ __forceinline__ void apply_panel(const HamBackward<T, A>& t, const Between<A>& from,
                                            std::size_t image, std::size_t pixel, int pixels,
                                            const Panel& panel, A (&dw)[lane_channels]) {
  A w[lane_channels], wgt[lane_channels], mean[lane_channels];
  load_panel<V>(w, t.spatial_weight, panel);
  load_panel<V>(wgt, t.wgt + image * panel.channels, panel);
  load_panel<V>(mean, from.dmean + image * panel.channels, panel);
  clear(dw);
#pragma unroll(unrolled_pixels <V, A>)
  for (int p = 0; p < pixels; ++p) {
    const A s = t.s[pixel + p], ds = from.ds[pixel + p];
    const std::size_t first = (pixel + p) * panel.channels + panel.first;
#pragma unroll
    for (int k = 0; k < lane_channels / V; ++k) {
      const int c = Panel::at<V>(k);
      if (c >= panel.count) continue;
      const simt::Vec<T, V> r = simt::load_readonly<V>(t.x + first + c),
                            g = simt::load_readonly<V>(t.dy + first + c);
      simt::Vec<T, V> out;
#pragma unroll
      for (int e = 0; e < V; ++e) {
        const int i = k * V + e;
        dw[i] += ds * A(r[e]);
        out[e] = T(gate_gradient<scse, T>(A(r[e]), A(g[e]), s + wgt[i]).d + ds * w[i] + mean[i]);
      }
      simt::store_streaming(t.dx + first + c, out);
    }
  }
}

template <class T, int V>
__global__ void __launch_bounds__(two_pass_threads, blocks_at_once<T>)
    ham_backward_apply(HamBackward<T, Accumulator<T>> t, PartDims d, bool scse,
                       Between<Accumulator<T>> from) {
  using A = Accumulator<T>;
  auto& shared = simt::shared<WarpSums<A>>();
  const PartShare share(d);
  const WarpShare warp(share.size);
  const std::size_t pixel = share.image * d.pixels + share.begin + warp.begin;
  for (int first = 0; first < d.channels; first += panel_channels) {
    const Panel panel(d.channels, first);
    A dw[lane_channels];
    if (scse) {
      apply_panel<V, true>(t, from, share.image, pixel, warp.size(), panel, dw);
    } else {
      apply_panel<V, false>(t, from, share.image, pixel, warp.size(), panel, dw);
    }
    store_panel<V>(shared.part[simt::warp()], dw, panel);
    __syncthreads();
    A* out = from.rows.dw + share.row * d.channels + first;
    sum_warps(shared.part[0], panel_channels, panel.count, [&](int c, A total) { out[c] = total; });
    __syncthreads();
  }
}

template <class T, int V>
void backward(const HamProblem& p, const HamBackward<T, Accumulator<T>>& t, Stream stream) {
  using A = Accumulator<T>;
  const HamTwoPassShape shape = ham_two_pass_shape(p, simt::limits(), HamDirection::backward);
  const std::int64_t rows = p.n * shape.parts;
  const Scratch<A> ds(p.n * p.pixels(), stream, "ds"), dmean(p.n * p.c, stream, "dA/(HW)"),
      dwgt(rows * p.c, stream, "dW of the parts"), dlogit2(p.n * p.c, stream, "dlogit2"),
      dz(p.n * p.hidden, stream, "dz"), dw(rows * p.c, stream, "dw of the parts"),
      db(rows, stream, "db of the parts");
  const Between<A> between{ds.data(),
                           dmean.data(),
                           dwgt.data(),
                           {dlogit2.data(), dz.data(), dw.data(), db.data(), static_cast<int>(rows)}};
  for_each_group(p, shape, [&](const PartDims& d, unsigned images) {
    simt::launch("ham.backward two_pass, reduce", &ham_backward_reduce<T, V>,
                 pass_launch(shape, images, sizeof(ReduceShared<A>), stream), t, d, p.scse != 0, between);
    simt::launch("ham.backward two_pass, gate", &ham_backward_gate<T, A>,
                 gate_launch(images, sizeof(GateShared<A>), stream), t, d, between);
    simt::launch("ham.backward two_pass, apply", &ham_backward_apply<T, V>,
                 pass_launch(shape, images, sizeof(WarpSums<A>), stream), t, d, p.scse != 0, between);
  });
  sum_weights(p, t, between.rows, stream);
}

}  // namespace

void ham_backward_two_pass(const HamProblem& p, Ports ports, Stream stream) {
  const bool aligned =
      aligned_16({ports[0].data, ports[1].data, ports[2].data, ports[8].data, ports[9].data});
  visit_vector(p.dtype, p.c, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    backward<T, vector>(p, HamBackward<T, Accumulator<T>>(ports), stream);
  });
}

}  // namespace fovea::SIMT_WORLD
