// head backward ("fused"): four launches.
//
//   image      dhid = (hid > 0) fc2^T dlogits, df = fc1^T dhid: a block for each image
//   shortcut   dpooled = shortcut^T df: a block for 32 channels and a group of 8 images
//   weights    of each layer dw[o,i] = sum_n dy[n,o] x[n,i] and db[o] = sum_n dy[n,o]: a thread for 16 bytes of a dw
//   spread     dm = df / pixels, dr = dpooled / pixels, the same for every pixel of an image
//
// Idea: dm and dr are all the traffic. They hold one row of C values per image, which a thread keeps in registers while
// it stores them pixel after pixel, 16 bytes at a time and past the caches' other contents. The rest is small; the
// shortcut's weights are read once for 8 images.
//
// Sums: over images and over a layer's outputs in order, 64 terms to a chain; no atomics.
//
// Traffic: Cost's bytes; dhid, df and dpooled are a few values per image.
// Launch: images blocks of 512 threads, C / 32 x groups, one for 256 vectors of each gradient, parts x images, of 256.
#include "kernels/head/head_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class A>
struct HeadBackward {
  const A *dlogits, *shortcut_weight, *fc1_weight, *fc2_weight, *pooled, *f, *hid;
  A *dhid, *df, *dpooled;  // scratch: N,hidden; N,C; N,C
  int images, channels, hidden, classes;
};

// The block reads what it wrote to dhid itself: a barrier orders that.
template <class A>
__global__ void __launch_bounds__(image_threads) head_backward_image(HeadBackward<A> t) {
  SIMT_SHARED(A, part, [image_threads]);
  const std::size_t image = blockIdx.x;
  const A *dlogits = t.dlogits + image * t.classes, *hid = t.hid + image * t.hidden;
  A *dhid = t.dhid + image * t.hidden, *df = t.df + image * t.channels;
  column_products(LayerWeights<A>{t.fc2_weight, t.classes, t.hidden, t.hidden}, dlogits, part,
                  [&](int j, A sum) { dhid[j] = hid[j] <= A(0) ? A(0) : sum; });
  column_products(LayerWeights<A>{t.fc1_weight, t.hidden, t.channels, t.channels}, dhid, part,
                  [&](int c, A sum) { df[c] = sum; });
}

template <class A>
__global__ void __launch_bounds__(head_threads) head_backward_shortcut(HeadBackward<A> t) {
  SIMT_SHARED(A, part, [head_threads * group_images]);
  const unsigned tiles = static_cast<unsigned>((t.channels + 31) / 32);
  const int image = static_cast<int>(blockIdx.x / tiles) * group_images;
  const std::size_t row = static_cast<std::size_t>(image) * t.channels;
  column_tile_products<group_images>(
      LayerWeights<A>{t.shortcut_weight, t.channels, t.channels, t.channels}, t.df + row,
      min(group_images, t.images - image), static_cast<int>(blockIdx.x % tiles) * 32, 32, part,
      [&](int g, int c, A sum) { t.dpooled[row + static_cast<std::size_t>(g) * t.channels + c] = sum; });
}

// ---- gradients of the weights

/// out[o, i] = sum_n dy[n, o] x[n, i], `outputs` x `inputs` values; without x out[o] = sum_n dy[n, o] (one input).
template <class A>
struct LayerGradient {
  A* out;
  const A *dy, *x;
  int outputs, inputs;
};

template <class A>
struct LayerGradients {
  static constexpr int count = 6;
  LayerGradient<A> at[count];
  int first_block[count];
};

/// V values of a gradient, of consecutive inputs.
template <int V, class A>
__device__ __forceinline__ void sum_images(const LayerGradient<A>& layer, int images, int value) {
  const int output = value / layer.inputs, input = value - output * layer.inputs;
  simt::Vec<A, V> sum{};
  for (int begin = 0; begin < images; begin += column_chain) {
    simt::Vec<A, V> chain{};
    const int end = min(images, begin + column_chain);
#pragma unroll 4
    for (int n = begin; n < end; ++n) {
      const A dy = layer.dy[static_cast<std::size_t>(n) * layer.outputs + output];
      if (layer.x == nullptr) {
        chain[0] += dy;
        continue;
      }
      const simt::Vec<A, V> x = simt::load<V>(layer.x + static_cast<std::size_t>(n) * layer.inputs + input);
#pragma unroll
      for (int e = 0; e < V; ++e) chain[e] += dy * x[e];
    }
#pragma unroll
    for (int e = 0; e < V; ++e) sum[e] += chain[e];
  }
  simt::store(layer.out + value, sum);
}

template <class A, int V>
__global__ void __launch_bounds__(head_threads) head_backward_weights(LayerGradients<A> layers, int images) {
  int job = 0;
#pragma unroll
  for (int i = 1; i < LayerGradients<A>::count; ++i)
    job += static_cast<int>(blockIdx.x) >= layers.first_block[i] ? 1 : 0;
  const LayerGradient<A> layer = layers.at[job];
  const int i =
      (static_cast<int>(blockIdx.x) - layers.first_block[job]) * head_threads + static_cast<int>(threadIdx.x);
  const int values = layer.outputs * layer.inputs;
  if (layer.x == nullptr) {
    if (i < values) sum_images<1>(layer, images, i);
  } else if (i < values / V) {
    sum_images<V>(layer, images, i * V);
  }
}

template <class A, int V>
void sum_weights(const HeadBackward<A>& t, Ports ports, Stream stream) {
  LayerGradients<A> layers{{{ports[9].as<A>(), t.df, t.pooled, t.channels, t.channels},
                            {ports[11].as<A>(), t.dhid, t.f, t.hidden, t.channels},
                            {ports[13].as<A>(), t.dlogits, t.hid, t.classes, t.hidden},
                            {ports[10].as<A>(), t.df, nullptr, t.channels, 1},
                            {ports[12].as<A>(), t.dhid, nullptr, t.hidden, 1},
                            {ports[14].as<A>(), t.dlogits, nullptr, t.classes, 1}},
                           {}};
  int blocks = 0;
  for (int i = 0; i < LayerGradients<A>::count; ++i) {
    const LayerGradient<A>& layer = layers.at[i];
    layers.first_block[i] = blocks;
    blocks += static_cast<int>(
        blocks_for(layer.outputs * layer.inputs / (layer.x == nullptr ? 1 : V), head_threads));
  }
  simt::launch("head.backward fused, weights", &head_backward_weights<A, V>,
               head_launch(blocks, head_threads, stream), layers, t.images);
}

// ---- gradients of the images

template <class T, int V>
__global__ void __launch_bounds__(head_threads)
    head_backward_spread(HeadImages<T> m, HeadImages<T> r, HeadBackward<Accumulator<T>> t) {
  using A = Accumulator<T>;
  const HeadShare<T> share(m, r, t.images, 1);
  const A* gradient = (share.is_r ? t.dpooled : t.df) + share.image * t.channels;
  T* out = share.of.data + share.image * share.of.pixels * t.channels;
  const int vectors = t.channels / V, width = min(vectors, head_threads), lines = head_threads / width;
  const int line = static_cast<int>(threadIdx.x) / width;
  if (line >= lines) return;  // no barrier below
  for (int v = static_cast<int>(threadIdx.x) % width; v < vectors; v += width) {
    simt::Vec<T, V> values;
#pragma unroll
    for (int e = 0; e < V; ++e) values[e] = T(gradient[v * V + e] / A(share.of.pixels));
    for (int p = share.begin + line; p < share.end; p += lines)
      simt::store_streaming(out + static_cast<std::size_t>(p) * t.channels + v * V, values);
  }
}

template <class T, int V>
void spread(const HeadProblem& p, const HeadBackward<Accumulator<T>>& t, Ports ports, Stream stream) {
  const simt::Limits limits = simt::limits();
  const auto m = head_images<T>(ports[7], head_parts(2 * p.n, p.m_h * p.m_w, limits));
  const auto r = head_images<T>(ports[8], head_parts(2 * p.n, p.r_h * p.r_w, limits));
  if (m.parts + r.parts == 0) return;
  simt::launch("head.backward fused, spread", &head_backward_spread<T, V>,
               head_launch(p.n * (m.parts + r.parts), head_threads, stream), m, r, t);
}

template <class T>
void backward(const HeadProblem& p, Ports ports, Stream stream) {
  using A = Accumulator<T>;
  const Scratch<A> dhid(p.n * p.hidden, stream, "dhid"), df(p.n * p.c, stream, "df"),
      dpooled(p.n * p.c, stream, "dpooled");
  const HeadBackward<A> t{ports[0].as<const A>(),
                          ports[1].as<const A>(),
                          ports[2].as<const A>(),
                          ports[3].as<const A>(),
                          ports[4].as<const A>(),
                          ports[5].as<const A>(),
                          ports[6].as<const A>(),
                          dhid.data(),
                          df.data(),
                          dpooled.data(),
                          static_cast<int>(p.n),
                          static_cast<int>(p.c),
                          static_cast<int>(p.hidden),
                          static_cast<int>(p.classes)};
  simt::launch("head.backward fused, image", &head_backward_image<A>, head_launch(p.n, image_threads, stream),
               t);
  if (ports[8]) {
    simt::launch(
        "head.backward fused, shortcut", &head_backward_shortcut<A>,
        head_launch(std::int64_t{blocks_for(p.n, group_images)} * blocks_for(p.c, 32), head_threads, stream),
        t);
  }
  constexpr int vector = vector_of<A>;
  if (p.c % vector == 0 && p.hidden % vector == 0 &&
      aligned_16({t.pooled, t.f, t.hid, ports[9].data, ports[11].data, ports[13].data})) {
    sum_weights<A, vector>(t, ports, stream);
  } else {
    sum_weights<A, 1>(t, ports, stream);
  }
  if (p.c % vector_of<T> == 0 && aligned_16({ports[7].data, ports[8].data})) {
    spread<T, vector_of<T>>(p, t, ports, stream);
  } else {
    spread<T, 1>(p, t, ports, stream);
  }
}

}  // namespace

void head_backward_fused(const HeadProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) { backward<decltype(zero)>(p, ports, stream); });
}

}  // namespace fovea::SIMT_WORLD
