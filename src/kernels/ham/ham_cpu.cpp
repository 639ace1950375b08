// ham, fused, fp32: what the unfused op moves in 14 (forward) and 36 (backward) passes over the activation is
// done in one read and one write, and in two reads and one write, of memory.
//
// Forward, image by image: one pass takes the channel sums and the spatial logits of a pixel together; the
// two small fully connected layers; a second pass, whose reads hit the cache, applies the gate. Backward: one
// pass reads x and dy, finishes a pixel while it is in L1, and writes dx but for dA/(H W), a constant per
// channel of an image that needs all its pixels; it is added while the image is still in cache.
//
// An image is cut into at most 16 parts, whatever the number of threads; sums of parts are merged in order.
// So one image uses all cores too, and results do not depend on their number. How many small images share a
// pass is the only thing that does, and it changes no sum.
//
// What was read against PyTorch: docs/performance.md.
#include <omp.h>

#include <algorithm>
#include <vector>

#include "kernels/cpu/vector_math.hpp"
#include "kernels/ham/kernels.hpp"

namespace fovea {
namespace {

using vector_math::sigmoid;
using Floats = std::vector<float>;

Floats floats(std::int64_t count) { return Floats(static_cast<std::size_t>(count)); }

// The parts of one image.
struct Parts {
  std::int64_t pixels, count;
  explicit Parts(const HamProblem& p) : pixels(p.pixels()), count(std::min<std::int64_t>(p.pixels(), 16)) {}
  std::int64_t begin(std::int64_t part) const { return pixels * part / count; }
  std::int64_t size(std::int64_t part) const { return begin(part + 1) - begin(part); }
};

// How many images go through the passes together: as many as the threads' L2 caches hold.
std::int64_t images_at_once(const HamProblem& p, std::int64_t tensors) {
  const std::int64_t bytes = p.pixels() * p.c * tensors * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t cache = std::int64_t{768} * 1024 * omp_get_max_threads();
  return std::clamp<std::int64_t>(cache / bytes, 1, p.n);
}

// sum[c] = the sum over the parts, in order.
void merge_parts(const float* parts, std::int64_t count, std::int64_t stride, std::int64_t c, float* sum) {
  std::copy(parts, parts + c, sum);
  for (std::int64_t i = 1; i < count; ++i) {
    const float* part = parts + i * stride;
#pragma omp simd
    for (std::int64_t k = 0; k < c; ++k) sum[k] += part[k];
  }
}

float dot(const float* a, const float* b, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(float* __restrict out, float scale, const float* __restrict in, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] += scale * in[i];
}

// ---- forward

// Channel sums and spatial logits of some pixels, four at a time: one load and store of sum[c] for four of x.
void sum_and_project(const float* __restrict x, std::int64_t pixels, std::int64_t c,
                     const float* __restrict w, float* __restrict sum, float* __restrict logit) {
  std::fill(sum, sum + c, 0.0f);
  std::int64_t i = 0;
  for (; i + 4 <= pixels; i += 4) {
    const float *x0 = x + i * c, *x1 = x0 + c, *x2 = x1 + c, *x3 = x2 + c;
    float l0 = 0, l1 = 0, l2 = 0, l3 = 0;
#pragma omp simd reduction(+ : l0, l1, l2, l3)
    for (std::int64_t k = 0; k < c; ++k) {
      const float v = w[k];
      l0 += x0[k] * v;
      l1 += x1[k] * v;
      l2 += x2[k] * v;
      l3 += x3[k] * v;
      sum[k] += (x0[k] + x1[k]) + (x2[k] + x3[k]);
    }
    logit[i] = l0, logit[i + 1] = l1, logit[i + 2] = l2, logit[i + 3] = l3;
  }
  for (; i < pixels; ++i) {
    logit[i] = dot(x + i * c, w, c);
    add_scaled(sum, 1.0f, x + i * c, c);
  }
}

void forward_fc(const HamProblem& p, const HamForward<float>& t, const float* parts, std::int64_t part_count,
                std::int64_t n) {
  float *a = t.a + n * p.c, *z = t.z + n * p.hidden, *wgt = t.wgt + n * p.c;
  merge_parts(parts, part_count, p.c, p.c, a);
  const float scale = 1.0f / static_cast<float>(p.pixels());
  for (std::int64_t c = 0; c < p.c; ++c) a[c] *= scale;
  for (std::int64_t j = 0; j < p.hidden; ++j) {
    const float v = t.fc1_bias[j] + dot(t.fc1_weight + j * p.c, a, p.c);
    z[j] = v < 0 ? 0 : v;  // NaN stays
  }
  for (std::int64_t c = 0; c < p.c; ++c)
    wgt[c] = t.fc2_bias[c] + dot(t.fc2_weight + c * p.hidden, z, p.hidden);
#pragma omp simd
  for (std::int64_t c = 0; c < p.c; ++c) wgt[c] = sigmoid(wgt[c]);
}

template <bool scse>
void apply(const float* __restrict x, const float* __restrict s, const float* __restrict wgt,
           std::int64_t pixels, std::int64_t c, float* __restrict y) {
  for (std::int64_t i = 0; i < pixels; ++i) {
    const float spatial = s[i];
#pragma omp simd
    for (std::int64_t k = 0; k < c; ++k) {
      const float r = x[i * c + k], gate = spatial + wgt[k];
      y[i * c + k] = scse ? r * gate : r * sigmoid(r * gate);
    }
  }
}

template <bool scse>
void forward(const HamProblem& p, const HamForward<float>& t) {
  const Parts parts(p);
  const std::int64_t group = images_at_once(p, 1);
  Floats sums = floats(group * parts.count * p.c);
#pragma omp parallel
  for (std::int64_t first = 0; first < p.n; first += group) {
    const std::int64_t images = std::min(group, p.n - first);
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < images * parts.count; ++i) {
      const std::int64_t part = i % parts.count, size = parts.size(part);
      const std::int64_t pixel = (first + i / parts.count) * p.pixels() + parts.begin(part);
      float* s = t.s + pixel;
      sum_and_project(t.x + pixel * p.c, size, p.c, t.spatial_weight, sums.data() + i * p.c, s);
#pragma omp simd
      for (std::int64_t k = 0; k < size; ++k) s[k] = sigmoid(s[k] + t.spatial_bias[0]);
    }
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < images; ++i)
      forward_fc(p, t, sums.data() + i * parts.count * p.c, parts.count, first + i);
#pragma omp for schedule(static) nowait
    for (std::int64_t i = 0; i < images * parts.count; ++i) {
      const std::int64_t part = i % parts.count, n = first + i / parts.count;
      const std::int64_t pixel = n * p.pixels() + parts.begin(part);
      apply<scse>(t.x + pixel * p.c, t.s + pixel, t.wgt + n * p.c, parts.size(part), p.c, t.y + pixel * p.c);
    }
  }
}

// ---- backward

// The sums of one part, C each: dW and dw; db in the last place.
struct PartSums {
  float *channel, *spatial_weight, *spatial_bias;
  static std::int64_t floats(std::int64_t c) { return (2 * c + 1 + 15) / 16 * 16; }
  PartSums(float* at, std::int64_t c) : channel(at), spatial_weight(at + c), spatial_bias(at + 2 * c) {}
};

// One pixel: dx but for the spatial and mean terms into d, m into channel; returns sum_c m.
template <bool scse>
float gate_gradient(const float* __restrict x, const float* __restrict dy, float spatial,
                    const float* __restrict wgt, std::int64_t c, float* __restrict d,
                    float* __restrict channel) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t k = 0; k < c; ++k) {
    const float r = x[k], g = dy[k], gate = spatial + wgt[k];
    float m;
    if constexpr (scse) {
      m = g * r;
      d[k] = g * gate;
    } else {
      const float open = sigmoid(r * gate);
      const float du = g * r * (open - open * open);
      m = du * r;
      d[k] = g * open + du * gate;
    }
    channel[k] += m;
    sum += m;
  }
  return sum;
}

template <bool scse>
void backward_pixels(const HamProblem& p, const HamBackward<float>& t, std::int64_t n, std::int64_t pixel,
                     std::int64_t count, PartSums sums) {
  const std::int64_t c = p.c;
  const float* __restrict w = t.spatial_weight;
  std::fill(sums.channel, sums.channel + PartSums::floats(c), 0.0f);
  for (std::int64_t i = pixel; i < pixel + count; ++i) {
    const float* __restrict x = t.x + i * c;
    float* __restrict dx = t.dx + i * c;
    const float s = t.s[i];
    const float ds =
        gate_gradient<scse>(x, t.dy + i * c, s, t.wgt + n * c, c, dx, sums.channel) * s * (1 - s);
    *sums.spatial_bias += ds;
    float* __restrict dw = sums.spatial_weight;
#pragma omp simd
    for (std::int64_t k = 0; k < c; ++k) {
      dx[k] += ds * w[k];
      dw[k] += ds * x[k];
    }
  }
}

// dW of image n -> d(fc2's output), d(fc1's output), dA/(H W).
void backward_fc(const HamProblem& p, const HamBackward<float>& t, std::int64_t n, const float* parts,
                 std::int64_t part_count, float* logit2, float* hidden, float* mean) {
  const float* wgt = t.wgt + n * p.c;
  merge_parts(parts, part_count, PartSums::floats(p.c), p.c, logit2);
  for (std::int64_t c = 0; c < p.c; ++c) logit2[c] *= wgt[c] * (1 - wgt[c]);
  std::fill(hidden, hidden + p.hidden, 0.0f);
  for (std::int64_t c = 0; c < p.c; ++c) add_scaled(hidden, logit2[c], t.fc2_weight + c * p.hidden, p.hidden);
  std::fill(mean, mean + p.c, 0.0f);
  for (std::int64_t j = 0; j < p.hidden; ++j) {
    if (t.z[n * p.hidden + j] <= 0) hidden[j] = 0;
    add_scaled(mean, hidden[j] / static_cast<float>(p.pixels()), t.fc1_weight + j * p.c, p.c);
  }
}

void add_to_pixels(float* __restrict dx, const float* __restrict mean, std::int64_t pixels, std::int64_t c) {
  for (std::int64_t i = 0; i < pixels; ++i) add_scaled(dx + i * c, 1.0f, mean, c);
}

// The sums over images, in order.
void backward_weights(const HamProblem& p, const HamBackward<float>& t, const Floats& parts,
                      std::int64_t part_count, const Floats& logit2, const Floats& hidden) {
  const std::int64_t stride = PartSums::floats(p.c);
  merge_parts(parts.data() + p.c, p.n * part_count, stride, p.c, t.dspatial_weight);
  merge_parts(parts.data() + 2 * p.c, p.n * part_count, stride, 1, t.dspatial_bias);
  merge_parts(logit2.data(), p.n, p.c, p.c, t.dfc2_bias);
  merge_parts(hidden.data(), p.n, p.hidden, p.hidden, t.dfc1_bias);
  std::fill(t.dfc1_weight, t.dfc1_weight + p.hidden * p.c, 0.0f);
  std::fill(t.dfc2_weight, t.dfc2_weight + p.c * p.hidden, 0.0f);
#pragma omp parallel
  {
#pragma omp for schedule(static) nowait
    for (std::int64_t j = 0; j < p.hidden; ++j)
      for (std::int64_t n = 0; n < p.n; ++n)
        add_scaled(t.dfc1_weight + j * p.c, hidden[static_cast<std::size_t>(n * p.hidden + j)], t.a + n * p.c,
                   p.c);
#pragma omp for schedule(static)
    for (std::int64_t c = 0; c < p.c; ++c)
      for (std::int64_t n = 0; n < p.n; ++n)
        add_scaled(t.dfc2_weight + c * p.hidden, logit2[static_cast<std::size_t>(n * p.c + c)],
                   t.z + n * p.hidden, p.hidden);
  }
}

template <bool scse>
void backward(const HamProblem& p, const HamBackward<float>& t) {
  const Parts parts(p);
  const std::int64_t group = images_at_once(p, 3), stride = PartSums::floats(p.c);
  Floats sums = floats(p.n * parts.count * stride), logit2 = floats(p.n * p.c),
         hidden = floats(p.n * p.hidden), mean = floats(p.n * p.c);
#pragma omp parallel
  for (std::int64_t first = 0; first < p.n; first += group) {
    const std::int64_t images = std::min(group, p.n - first);
#pragma omp for schedule(static)
    for (std::int64_t i = first * parts.count; i < (first + images) * parts.count; ++i) {
      const std::int64_t n = i / parts.count, part = i % parts.count;
      backward_pixels<scse>(p, t, n, n * p.pixels() + parts.begin(part), parts.size(part),
                            PartSums(sums.data() + i * stride, p.c));
    }
#pragma omp for schedule(static)
    for (std::int64_t n = first; n < first + images; ++n)
      backward_fc(p, t, n, sums.data() + n * parts.count * stride, parts.count, logit2.data() + n * p.c,
                  hidden.data() + n * p.hidden, mean.data() + n * p.c);
#pragma omp for schedule(static) nowait
    for (std::int64_t i = first * parts.count; i < (first + images) * parts.count; ++i) {
      const std::int64_t n = i / parts.count, part = i % parts.count;
      add_to_pixels(t.dx + (n * p.pixels() + parts.begin(part)) * p.c, mean.data() + n * p.c,
                    parts.size(part), p.c);
    }
  }
  backward_weights(p, t, sums, parts.count, logit2, hidden);
}

}  // namespace

void ham_forward_fused(const HamProblem& p, Ports ports, Stream) {
  const HamForward<float> t(ports);
  p.scse ? forward<true>(p, t) : forward<false>(p, t);
}

void ham_backward_fused(const HamProblem& p, Ports ports, Stream) {
  const HamBackward<float> t(ports);
  p.scse ? backward<true>(p, t) : backward<false>(p, t);
}

}  // namespace fovea
