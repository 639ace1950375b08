// head forward ("fused"): four launches for what head.hpp writes as six ops.
//
//   pool       channel sums of a part of an image, of m and of r
//   merge      their means over an image: gap(m) and pooled
//   shortcut   f = gap(m) + shortcut pooled + bias: a warp for each channel of f and group of 8 images
//   classify   hid = relu( fc1 f ), logits = fc2 hid: a block for each image
//
// Idea: m and r are all the traffic, read once in 16-byte pieces by blocks that fill the device; what follows is
// small and bound by latency, so it is few launches. The shortcut's C x C weights are read once for 8 images.
//
// Sums: a thread's pixels in order (at most 128), a block's warps in order, an image's parts in order in double; dot
// products: each lane's terms in order, then a tree.
//
// Traffic: Cost's bytes, and C values for each part of an image, written and read once from the second-level cache;
// fc1 and fc2 are read from there once for each image.
// Launch: parts x tiles of channels x images, images x 2C / 256, groups x C / 8 blocks of 256 threads, images of 512.
#include "kernels/head/head_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class A>
struct HeadForward {
  const A *shortcut_weight, *shortcut_bias, *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias;
  A *logits, *pooled, *f, *hid;
  explicit HeadForward(Ports p)
      : shortcut_weight(p[2].as<const A>()),
        shortcut_bias(p[3].as<const A>()),
        fc1_weight(p[4].as<const A>()),
        fc1_bias(p[5].as<const A>()),
        fc2_weight(p[6].as<const A>()),
        fc2_bias(p[7].as<const A>()),
        logits(p[8].as<A>()),
        pooled(p[9].as<A>()),
        f(p[10].as<A>()),
        hid(p[11].as<A>()) {}
};

struct HeadDims {
  int images, channels, hidden, classes;
};

/// The channel sums of the parts of m and of r: parts, channels for each image.
template <class A>
struct PartSums {
  A *m, *r;
};

template <class T, int V>
__global__ void __launch_bounds__(head_threads)
    head_pool(HeadImages<const T> m, HeadImages<const T> r, int images, int channels, int tiles,
              PartSums<Accumulator<T>> out) {
  using A = Accumulator<T>;
  constexpr int tile_channels = 32 * V;
  SIMT_SHARED(A, part, [head_warps][tile_channels]);
  const HeadShare<const T> share(m, r, images, tiles);
  const int warp = static_cast<int>(simt::warp()), lane = static_cast<int>(simt::lane());
  const int channel = share.tile * tile_channels + lane * V;
  A sum[V] = {};
  if (channel < channels) {
    const T* x = share.of.data + share.image * share.of.pixels * channels + channel;
#pragma unroll 4
    for (int p = share.begin + warp; p < share.end; p += head_warps) {
      const simt::Vec<T, V> values = simt::load<V>(x + static_cast<std::size_t>(p) * channels);
#pragma unroll
      for (int e = 0; e < V; ++e) sum[e] += A(values[e]);
    }
  }
#pragma unroll
  for (int e = 0; e < V; ++e) part[warp][lane * V + e] = sum[e];
  __syncthreads();
  A* row = (share.is_r ? out.r : out.m) + (share.image * share.of.parts + share.part) * channels;
  const int end = min(tile_channels, channels - share.tile * tile_channels);
  for (int c = static_cast<int>(threadIdx.x); c < end; c += head_threads) {
    A total = part[0][c];
    for (int w = 1; w < head_warps; ++w) total += part[w][c];
    row[share.tile * tile_channels + c] = total;
  }
}

/// means: of m, then of r, N,C each.
template <class A>
__device__ __forceinline__ A mean_of_parts(const A* sums, std::int64_t value, int channels, int parts,
                                           int pixels) {
  const std::int64_t image = value / channels, c = value % channels;
  double sum = 0;
  for (int p = 0; p < parts; ++p) sum += double(sums[(image * parts + p) * channels + c]);
  return A(sum / pixels);
}

template <class T, class A>
__global__ void __launch_bounds__(head_threads)
    head_merge(HeadImages<const T> m, HeadImages<const T> r, int images, int channels, PartSums<A> sums,
               A* m_mean, A* pooled) {
  const std::int64_t values = std::int64_t{images} * channels;
  const std::int64_t i = std::int64_t{blockIdx.x} * head_threads + threadIdx.x;
  if (i < values) {
    m_mean[i] = mean_of_parts(sums.m, i, channels, m.parts, m.pixels);
  } else if (i < 2 * values) {
    pooled[i - values] = mean_of_parts(sums.r, i - values, channels, r.parts, r.pixels);
  }
}

template <class A>
__global__ void __launch_bounds__(head_threads) head_shortcut(HeadForward<A> t, HeadDims d, const A* m_mean) {
  const unsigned blocks = static_cast<unsigned>((d.channels + head_warps - 1) / head_warps);
  const int image = static_cast<int>(blockIdx.x / blocks) * group_images;
  const int channel = static_cast<int>(blockIdx.x % blocks) * head_warps;
  const std::size_t row = static_cast<std::size_t>(image) * d.channels;
  row_products<group_images>(t.shortcut_weight, d.channels, t.pooled + row,
                             min(group_images, d.images - image), channel,
                             min(d.channels, channel + head_warps), [&](int g, int c, A dot) {
                               const std::size_t at = row + static_cast<std::size_t>(g) * d.channels + c;
                               t.f[at] = m_mean[at] + dot + t.shortcut_bias[c];
                             });
}

// The block reads what it wrote to hid itself: a barrier orders that.
template <class A>
__global__ void __launch_bounds__(image_threads) head_classify(HeadForward<A> t, HeadDims d) {
  const std::size_t image = blockIdx.x;
  A *hid = t.hid + image * d.hidden, *logits = t.logits + image * d.classes;
  row_products<1>(t.fc1_weight, d.channels, t.f + image * d.channels, 1, 0, d.hidden, [&](int, int j, A dot) {
    const A v = dot + t.fc1_bias[j];
    hid[j] = v < A(0) ? A(0) : v;  // NaN stays
  });
  __syncthreads();
  row_products<1>(t.fc2_weight, d.hidden, hid, 1, 0, d.classes,
                  [&](int, int k, A dot) { logits[k] = dot + t.fc2_bias[k]; });
}

template <class T, int V>
void forward(const HeadProblem& p, Ports ports, Stream stream) {
  using A = Accumulator<T>;
  const HeadForward<A> t(ports);
  const HeadDims d{static_cast<int>(p.n), static_cast<int>(p.c), static_cast<int>(p.hidden),
                   static_cast<int>(p.classes)};
  const std::int64_t tiles = blocks_for(p.c, 32 * V);
  const simt::Limits limits = simt::limits();
  const HeadParts m_parts = head_parts(2 * p.n * tiles, p.m_h * p.m_w, limits);
  const HeadParts r_parts = head_parts(2 * p.n * tiles, p.r_h * p.r_w, limits);
  const auto m = head_images<const T>(ports[0], m_parts), r = head_images<const T>(ports[1], r_parts);
  const Scratch<A> m_sums(p.n * m_parts.parts * p.c, stream, "channel sums of the parts of m");
  const Scratch<A> r_sums(p.n * r_parts.parts * p.c, stream, "channel sums of the parts of r");
  const Scratch<A> m_mean(p.n * p.c, stream, "means of m");
  const PartSums<A> sums{m_sums.data(), r_sums.data()};
  simt::launch("head.forward fused, pool", &head_pool<T, V>,
               head_launch(p.n * tiles * (m_parts.parts + r_parts.parts), head_threads, stream), m, r,
               d.images, d.channels, static_cast<int>(tiles), sums);
  simt::launch("head.forward fused, merge", &head_merge<T, A>,
               head_launch(blocks_for(2 * p.n * p.c, head_threads), head_threads, stream), m, r, d.images,
               d.channels, sums, m_mean.data(), t.pooled);
  simt::launch("head.forward fused, shortcut", &head_shortcut<A>,
               head_launch(std::int64_t{blocks_for(p.n, group_images)} * blocks_for(p.c, head_warps),
                           head_threads, stream),
               t, d, m_mean.data());
  simt::launch("head.forward fused, classify", &head_classify<A>, head_launch(p.n, image_threads, stream), t,
               d);
}

}  // namespace

// Both directions: sizes that 32-bit counts hold, with room for a block's steps, and grids that a launch may have.
bool supports_head_fused(const HeadProblem& p) {
  constexpr std::int64_t most = 0x3fffffff;
  const auto fits = [&](std::int64_t pixels) {
    return pixels <= most && p.n * p.c * (pixels / 32 + 1) <= most;
  };
  return p.n <= most && p.c <= most && p.hidden <= most && p.classes <= most && fits(p.m_h * p.m_w) &&
         fits(p.r_h * p.r_w) && p.c * (p.c + p.hidden) + p.hidden * p.classes <= most && runs_here();
}

void head_forward_fused(const HeadProblem& p, Ports ports, Stream stream) {
  visit_vector(p.dtype, p.c, aligned_16({ports[0].data, ports[1].data}),
               [&](auto zero, auto vector) { forward<decltype(zero), vector>(p, ports, stream); });
}

}  // namespace fovea::SIMT_WORLD
