// Cases of pooling: windows that overlap, touch and leave gaps, padding, input left over at the far edges,
// ties.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/pool/pool_indices.hpp"

namespace fovea::cases {

inline std::vector<std::pair<const char*, PoolProblem>> pool_problems() {
  return {
      {"2x2", {.n = 2, .h = 6, .w = 8, .c = 64}},
      {"2x2 with a rest", {.n = 1, .h = 7, .w = 5, .c = 13}},
      {"one pixel", {.n = 3, .h = 1, .w = 1, .c = 5, .kernel_h = 1, .kernel_w = 1}},
      {"2x2 stride 1", {.n = 2, .h = 5, .w = 4, .c = 17, .stride_h = 1, .stride_w = 1}},
      {"3x3 stride 2 padding 1",
       {.n = 2, .h = 9, .w = 8, .c = 16, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}},
      {"3x3 stride 1 padding 1",
       {.n = 1,
        .h = 5,
        .w = 6,
        .c = 70,
        .kernel_h = 3,
        .kernel_w = 3,
        .stride_h = 1,
        .stride_w = 1,
        .pad_h = 1,
        .pad_w = 1}},
      {"2x2 padding 1", {.n = 2, .h = 3, .w = 4, .c = 7, .pad_h = 1, .pad_w = 1}},
      {"window beyond the image",
       {.n = 2, .h = 1, .w = 2, .c = 3, .kernel_h = 3, .kernel_w = 4, .pad_h = 1, .pad_w = 2}},
      {"gaps",
       {.n = 1, .h = 11, .w = 10, .c = 6, .kernel_h = 2, .kernel_w = 1, .stride_h = 3, .stride_w = 4}},
      {"asymmetric",
       {.n = 2,
        .h = 8,
        .w = 9,
        .c = 4,
        .kernel_h = 1,
        .kernel_w = 5,
        .stride_h = 2,
        .stride_w = 3,
        .pad_w = 2}},
      {"four taps in a row",
       {.n = 1, .h = 5, .w = 9, .c = 24, .kernel_h = 1, .kernel_w = 4, .stride_h = 1, .stride_w = 4}},
      {"four channels", {.n = 3, .h = 4, .w = 3, .c = 4}},
      {"3x3 side by side",
       {.n = 2, .h = 7, .w = 10, .c = 8, .kernel_h = 3, .kernel_w = 3, .stride_h = 3, .stride_w = 3}},
      {"one window of three channels",
       {.n = 1, .h = 3, .w = 4, .c = 3, .kernel_h = 3, .kernel_w = 3, .stride_h = 3, .stride_w = 3}},
      {"ceil mode 3x3 stride 2",
       {.n = 2, .h = 8, .w = 11, .c = 16, .kernel_h = 3, .kernel_w = 3, .ceil_mode = 1}},
      {"ceil mode 2x2 with a rest", {.n = 1, .h = 7, .w = 5, .c = 13, .ceil_mode = 1}},
      {"ceil mode 3x3 stride 2 padding 1",
       {.n = 1,
        .h = 8,
        .w = 6,
        .c = 12,
        .kernel_h = 3,
        .kernel_w = 3,
        .pad_h = 1,
        .pad_w = 1,
        .ceil_mode = 1}},
      {"ceil mode, a window that would begin past the image",
       {.n = 2,
        .h = 5,
        .w = 3,
        .c = 5,
        .stride_h = 3,
        .stride_w = 4,
        .pad_h = 1,
        .pad_w = 1,
        .ceil_mode = 1}},
      {"255 taps",
       {.n = 1, .h = 16, .w = 18, .c = 2, .kernel_h = 15, .kernel_w = 17, .stride_h = 1, .stride_w = 1}},
  };
}

// Of which y is written into channels of a larger image: between vectors and at them.
inline std::vector<std::pair<const char*, PoolProblem>> pool_slices() {
  return {
      {"slice at vectors", {.n = 2, .h = 6, .w = 8, .c = 64, .y_slice = {16, 96}}},
      {"slice of a 3x3 window, the last channels",
       {.n = 2, .h = 9, .w = 8, .c = 16, .kernel_h = 3, .kernel_w = 3, .y_slice = {32, 48}}},
      {"slice between vectors", {.n = 1, .h = 5, .w = 6, .c = 24, .y_slice = {6, 32}}},
      {"slice of an odd image",
       {.n = 2, .h = 4, .w = 5, .c = 8, .kernel_h = 3, .kernel_w = 3, .y_slice = {0, 13}}},
      {"slice of odd channels", {.n = 1, .h = 7, .w = 5, .c = 13, .y_slice = {5, 20}}},
  };
}

// Few distinct values, so that most windows have several maxima.
inline void make_ties(const Tensor& x) {
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<double>()[i] = std::round(x.data<double>()[i]);
}

// Any tap inside the image, a different one from element to element.
inline void make_indices(const PoolProblem& p, PortTensors& ports) {
  const Tensor taps = Tensor::zeros(p.y_shape(), Dtype::u8);
  std::int64_t i = 0;
  const auto tap = [&](std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                       std::int64_t pad) {
    const std::int64_t first = out * stride - pad, begin = std::max<std::int64_t>(0, -first);
    return begin + (i * 7919 / 13) % (std::min(kernel, in - first) - begin);
  };
  for (; i < taps.numel(); ++i) {
    const std::int64_t pixel = i / p.c, ox = pixel % p.out_w(), oy = pixel / p.out_w() % p.out_h();
    const std::int64_t r = tap(oy, p.h, p.kernel_h, p.stride_h, p.pad_h);
    const std::int64_t s = tap(ox, p.w, p.kernel_w, p.stride_w, p.pad_w);
    taps.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(r * p.kernel_w + s);
  }
  if (p.packs_indices()) {
    pack_pool_indices(taps.data<std::uint8_t>(), taps.numel(), ports[0].data<std::uint8_t>());
  } else {
    ports[0].copy_from(taps);
  }
}

inline void pool_cases(std::vector<PrimitiveCase>& cases) {
  using P = PoolProblem;
  for (const auto& [label, p] : pool_problems()) {
    const std::string name = label;
    cases.push_back(make_case(max_pool_forward, name, p));
    cases.push_back(make_case<P>(max_pool_forward, name + ", no indices", p,
                                 [](const P&, PortTensors& ports) { ports[2] = {}; }));
    cases.push_back(make_case<P>(max_pool_forward, name + ", ties", p,
                                 [](const P&, PortTensors& ports) { make_ties(ports[0]); }));
    cases.push_back(make_case<P>(max_pool_backward, name, p, make_indices));
    P exclude = p;
    exclude.count_include_pad = 0;
    cases.push_back(make_case(avg_pool_forward, name, p));
    cases.push_back(make_case(avg_pool_forward, name + ", padding not counted", exclude));
    cases.push_back(make_case(avg_pool_backward, name, p));
    cases.push_back(make_case(avg_pool_backward, name + ", padding not counted", exclude));
  }
  for (const auto& [label, p] : pool_slices()) {
    cases.push_back(make_case(max_pool_forward, label, p));
    cases.push_back(make_case<P>(max_pool_forward, std::string(label) + ", no indices", p,
                                 [](const P&, PortTensors& ports) { ports[2] = {}; }));
    cases.push_back(make_case(avg_pool_forward, label, p));
  }
  const std::vector<std::pair<const char*, GlobalPoolProblem>> global{
      {"one pixel", {.n = 3, .h = 1, .w = 1, .c = 5}},
      {"14x14", {.n = 2, .h = 14, .w = 14, .c = 128}},
      {"odd", {.n = 1, .h = 9, .w = 31, .c = 67}},
      {"more than one part", {.n = 1, .h = 40, .w = 41, .c = 72}},
  };
  for (const auto& [label, p] : global) {
    cases.push_back(make_case(global_avg_pool_forward, label, p));
    cases.push_back(make_case(global_avg_pool_backward, label, p));
  }
  const std::vector<std::pair<const char*, AdaptivePoolProblem>> adaptive{
      {"14x14 to 7x7", {.n = 2, .h = 14, .w = 14, .c = 64, .out_h = 7, .out_w = 7}},
      {"overlapping", {.n = 3, .h = 10, .w = 9, .c = 13, .out_h = 7, .out_w = 4}},
      {"one pixel to 7x7", {.n = 2, .h = 1, .w = 1, .c = 24, .out_h = 7, .out_w = 7}},
      {"larger and smaller", {.n = 1, .h = 3, .w = 20, .c = 5, .out_h = 7, .out_w = 7}},
  };
  for (const auto& [label, p] : adaptive) {
    cases.push_back(make_case(adaptive_avg_pool_forward, label, p));
    cases.push_back(make_case(adaptive_avg_pool_backward, label, p));
  }
  // Gradients beyond the size from which they are written past the caches.
  const P touching{.n = 1, .h = 258, .w = 256, .c = 64};
  P overlapping = touching;
  overlapping.kernel_h = overlapping.kernel_w = 3;
  overlapping.pad_h = overlapping.pad_w = 1;
  const std::string past_caches = "larger than the caches";
  cases.push_back(large(make_case<P>(max_pool_backward, past_caches, touching, make_indices)));
  cases.push_back(
      large(make_case<P>(max_pool_backward, past_caches + ", overlapping", overlapping, make_indices)));
  cases.push_back(large(make_case(avg_pool_backward, past_caches, touching)));
  cases.push_back(
      large(make_case(global_avg_pool_backward, past_caches, {.n = 2, .h = 129, .w = 256, .c = 64})));
}

inline void pool_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape x;
    PoolOptions options;
  };
  const std::vector<Small> all{
      {"2x2", {2, 4, 5, 3}, {}},
      {"3x3 stride 2 padding 1", {1, 5, 6, 2}, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1}},
      {"3x2 stride 1, padding not counted",
       {1, 4, 4, 2},
       {.kernel_h = 3,
        .kernel_w = 2,
        .stride_h = 1,
        .stride_w = 1,
        .pad_h = 1,
        .pad_w = 1,
        .count_include_pad = false}},
      {"gaps", {1, 5, 7, 2}, {.kernel_h = 2, .kernel_w = 1, .stride_h = 3, .stride_w = 2}},
      {"ceil mode", {1, 6, 5, 2}, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1, .ceil_mode = true}},
      {"ceil mode, padding not counted",
       {1, 4, 6, 2},
       {.kernel_h = 3, .kernel_w = 3, .pad_w = 1, .count_include_pad = false, .ceil_mode = true}},
  };
  // Both beside each other in one image.
  cases.push_back({"max_pool", "into an image, and avg_pool",
                   [] {
                     return std::vector<Tensor>{random_tensor({2, 4, 6, 3}, 1)};
                   },
                   [](const std::vector<Tensor>& in) {
                     const Tensor image = Tensor::zeros({2, 2, 3, 7}, Dtype::f64, in[0].device());
                     return avg_pool(in[0], {}, {max_pool(in[0], {}, {image, 4}), 0});
                   }});

  for (const Small& small : all) {
    const auto inputs = [small] { return std::vector<Tensor>{random_tensor(small.x, 1)}; };
    cases.push_back({"max_pool", small.label, inputs,
                     [small](const std::vector<Tensor>& in) { return max_pool(in[0], small.options); }});
    cases.push_back({"avg_pool", small.label, inputs,
                     [small](const std::vector<Tensor>& in) { return avg_pool(in[0], small.options); }});
    cases.push_back({"adaptive_avg_pool", to_string(small.x) + " to 3x2", inputs,
                     [](const std::vector<Tensor>& in) { return adaptive_avg_pool(in[0], 3, 2); }});
    cases.push_back({"global_avg_pool", to_string(small.x), inputs,
                     [](const std::vector<Tensor>& in) { return global_avg_pool(in[0]); }});
  }
}

}  // namespace fovea::cases
