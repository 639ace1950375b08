// Cases of conv2d: strides, paddings, dilations, groups and bias in all the combinations that have tripped
// kernels.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/conv2d/conv2d.hpp"

namespace fovea::cases {

inline std::vector<std::pair<const char*, Conv2dProblem>> conv2d_problems() {
  return {
      {"3x3", {.n = 2, .h = 7, .w = 5, .c = 16, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
      {"one pixel", {.n = 1, .h = 1, .w = 1, .c = 3, .k = 5, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
      {"1x1 odd channels", {.n = 3, .h = 4, .w = 3, .c = 13, .k = 7}},
      {"stride 2",
       {.n = 2,
        .h = 9,
        .w = 8,
        .c = 8,
        .k = 16,
        .r = 3,
        .s = 3,
        .stride_h = 2,
        .stride_w = 2,
        .pad_h = 1,
        .pad_w = 1}},
      {"stride 3x2 no padding",
       {.n = 1, .h = 11, .w = 9, .c = 5, .k = 6, .r = 2, .s = 3, .stride_h = 3, .stride_w = 2}},
      {"dilation 2",
       {.n = 2,
        .h = 9,
        .w = 7,
        .c = 16,
        .k = 16,
        .r = 3,
        .s = 3,
        .pad_h = 2,
        .pad_w = 2,
        .dilation_h = 2,
        .dilation_w = 2}},
      {"dilation 4 beyond the image",
       {.n = 2,
        .h = 3,
        .w = 4,
        .c = 8,
        .k = 8,
        .r = 3,
        .s = 3,
        .pad_h = 4,
        .pad_w = 4,
        .dilation_h = 4,
        .dilation_w = 4}},
      {"dilation 2 stride 2",
       {.n = 1,
        .h = 12,
        .w = 11,
        .c = 4,
        .k = 6,
        .r = 3,
        .s = 3,
        .stride_h = 2,
        .stride_w = 2,
        .pad_h = 2,
        .pad_w = 2,
        .dilation_h = 2,
        .dilation_w = 2}},
      {"groups 2",
       {.n = 2, .h = 6, .w = 6, .c = 8, .k = 12, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .groups = 2}},
      {"groups 3 stride 2 dilation 2",
       {.n = 2,
        .h = 9,
        .w = 9,
        .c = 9,
        .k = 6,
        .r = 3,
        .s = 3,
        .stride_h = 2,
        .stride_w = 2,
        .pad_h = 1,
        .pad_w = 1,
        .dilation_h = 2,
        .dilation_w = 2,
        .groups = 3}},
      {"depthwise 7x7",
       {.n = 1, .h = 8, .w = 9, .c = 16, .k = 16, .r = 7, .s = 7, .pad_h = 3, .pad_w = 3, .groups = 16}},
      {"depthwise 7x7, two kinds of strips, channels between vectors",
       {.n = 2, .h = 5, .w = 23, .c = 20, .k = 20, .r = 7, .s = 7, .pad_h = 3, .pad_w = 3, .groups = 20}},
      {"depthwise 7x7, odd channels, wide padding",
       {.n = 2, .h = 6, .w = 5, .c = 37, .k = 37, .r = 7, .s = 7, .pad_h = 8, .pad_w = 7, .groups = 37}},
      {"depthwise 7x7, no padding, many parts",
       {.n = 3, .h = 19, .w = 18, .c = 8, .k = 8, .r = 7, .s = 7, .groups = 8}},
      {"depthwise 3x3 stride 2",
       {.n = 2,
        .h = 9,
        .w = 8,
        .c = 24,
        .k = 24,
        .r = 3,
        .s = 3,
        .stride_h = 2,
        .stride_w = 2,
        .pad_h = 1,
        .pad_w = 1,
        .groups = 24}},
      {"depthwise 3x3 stride 3x1, dilation 2x1",
       {.n = 2,
        .h = 13,
        .w = 9,
        .c = 48,
        .k = 48,
        .r = 3,
        .s = 3,
        .stride_h = 3,
        .pad_h = 2,
        .pad_w = 1,
        .dilation_h = 2,
        .groups = 48}},
      {"depthwise 5x5 of few channels",
       {.n = 2, .h = 7, .w = 9, .c = 3, .k = 3, .r = 5, .s = 5, .pad_h = 2, .pad_w = 2, .groups = 3}},
      {"depthwise 9x8 dilation 1x2, filters in two goes",
       {.n = 1,
        .h = 10,
        .w = 17,
        .c = 10,
        .k = 10,
        .r = 9,
        .s = 8,
        .pad_h = 4,
        .pad_w = 7,
        .dilation_w = 2,
        .groups = 10}},
      {"depthwise 2x2 stride 3, pixels that nothing reaches",
       {.n = 1, .h = 8, .w = 8, .c = 4, .k = 4, .r = 2, .s = 2, .stride_h = 3, .stride_w = 3, .groups = 4}},
      {"asymmetric 1x7", {.n = 2, .h = 5, .w = 8, .c = 6, .k = 4, .r = 1, .s = 7, .pad_w = 3}},
      {"3x3 wide, odd", {.n = 3, .h = 7, .w = 5, .c = 32, .k = 64, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
      {"3x3 wide, no padding", {.n = 2, .h = 6, .w = 9, .c = 64, .k = 32, .r = 3, .s = 3}},
      {"3x3 wide, padding 2x0", {.n = 1, .h = 3, .w = 20, .c = 32, .k = 96, .r = 3, .s = 3, .pad_h = 2}},
      {"3x3 wide, one pixel",
       {.n = 1, .h = 1, .w = 1, .c = 64, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
      {"3x3 wide, dilation 2",
       {.n = 2,
        .h = 7,
        .w = 9,
        .c = 32,
        .k = 64,
        .r = 3,
        .s = 3,
        .pad_h = 2,
        .pad_w = 2,
        .dilation_h = 2,
        .dilation_w = 2}},
      {"3x3 wide, dilation 4 beyond the image",
       {.n = 2,
        .h = 3,
        .w = 2,
        .c = 160,
        .k = 32,
        .r = 3,
        .s = 3,
        .pad_h = 4,
        .pad_w = 4,
        .dilation_h = 4,
        .dilation_w = 4}},
      {"3x3 wide, dilation 3x1, padding 1x2",
       {.n = 1,
        .h = 11,
        .w = 6,
        .c = 32,
        .k = 32,
        .r = 3,
        .s = 3,
        .pad_h = 1,
        .pad_w = 2,
        .dilation_h = 3,
        .dilation_w = 1}},
      {"3x3 wide, many tiles",
       {.n = 5, .h = 17, .w = 15, .c = 32, .k = 32, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
      {"first layer", {.n = 2, .h = 16, .w = 16, .c = 3, .k = 64, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1}},
  };
}

/// Of which y is written into channels of a larger image: between vectors and at them, up to both ends.
inline std::vector<std::pair<const char*, Conv2dProblem>> conv2d_slices() {
  return {
      {"slice at vectors",
       {.n = 2,
        .h = 7,
        .w = 5,
        .c = 16,
        .k = 48,
        .r = 3,
        .s = 3,
        .pad_h = 1,
        .pad_w = 1,
        .y_slice = {16, 96}}},
      {"slice of two panels, the last channels",
       {.n = 2,
        .h = 6,
        .w = 9,
        .c = 32,
        .k = 64,
        .r = 3,
        .s = 3,
        .pad_h = 1,
        .pad_w = 1,
        .y_slice = {40, 104}}},
      {"slice between vectors", {.n = 3, .h = 4, .w = 3, .c = 24, .k = 16, .y_slice = {3, 32}}},
      {"slice of an odd image, the first channels",
       {.n = 2,
        .h = 9,
        .w = 8,
        .c = 8,
        .k = 16,
        .r = 3,
        .s = 3,
        .stride_h = 2,
        .stride_w = 2,
        .pad_h = 1,
        .pad_w = 1,
        .y_slice = {0, 21}}},
      {"slice of odd channels, groups 2",
       {.n = 1, .h = 6, .w = 7, .c = 4, .k = 6, .r = 1, .s = 5, .pad_w = 2, .groups = 2, .y_slice = {5, 12}}},
      {"slice that is all",
       {.n = 1, .h = 5, .w = 5, .c = 8, .k = 8, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .y_slice = {0, 8}}},
      {"depthwise into a slice",
       {.n = 1,
        .h = 5,
        .w = 5,
        .c = 8,
        .k = 8,
        .r = 3,
        .s = 3,
        .pad_h = 1,
        .pad_w = 1,
        .groups = 8,
        .y_slice = {4, 16}}},
  };
}

inline void conv2d_cases(std::vector<PrimitiveCase>& cases) {
  for (const auto& [label, p] : conv2d_problems()) {
    const std::string name = label;
    Conv2dProblem relu = p;
    relu.relu = 1;
    cases.push_back(make_case(conv2d_forward, name, p));
    cases.push_back(make_case(conv2d_forward, name + ", relu, no bias", relu,
                              {[](const Conv2dProblem&, PortTensors& ports) { ports[2] = {}; }}));
    cases.push_back(make_case(conv2d_backward_data, name, p));
    cases.push_back(make_case(conv2d_backward_weights, name, p));
    cases.push_back(make_case(conv2d_backward_weights, name + ", no bias", p,
                              {[](const Conv2dProblem&, PortTensors& ports) { ports[3] = {}; }}));
  }
  for (const auto& [label, p] : conv2d_slices()) {
    cases.push_back(make_case(conv2d_forward, label, p));
    Conv2dProblem relu = p;
    relu.relu = 1;
    cases.push_back(make_case(conv2d_forward, std::string(label) + ", relu, no bias", relu,
                              {[](const Conv2dProblem&, PortTensors& ports) { ports[2] = {}; }}));
  }
  const Conv2dProblem long_sums{
      .n = 8, .h = 40, .w = 64, .c = 18, .k = 18, .r = 7, .s = 7, .pad_h = 3, .pad_w = 3, .groups = 18};
  cases.push_back(large(make_case(conv2d_backward_weights, "depthwise 7x7, long sums", long_sums)));
}

inline void conv2d_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape x, w;
    Conv2dOptions options;
  };
  const std::vector<Small> all{
      {"3x3", {2, 4, 3, 2}, {3, 3, 3, 2}, {.pad_h = 1, .pad_w = 1}},
      {"3x3 relu", {2, 4, 3, 2}, {3, 3, 3, 2}, {.pad_h = 1, .pad_w = 1, .activation = Activation::relu}},
      {"stride 2", {1, 5, 6, 2}, {2, 3, 3, 2}, {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}},
      {"dilation 2", {1, 5, 5, 2}, {2, 3, 3, 2}, {.pad_h = 2, .pad_w = 2, .dilation_h = 2, .dilation_w = 2}},
      {"groups 2 stride 2 dilation 2",
       {1, 7, 7, 4},
       {4, 3, 3, 2},
       {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1, .dilation_h = 2, .dilation_w = 2, .groups = 2}},
      {"depthwise", {1, 4, 4, 3}, {3, 3, 3, 1}, {.pad_h = 1, .pad_w = 1, .groups = 3}},
      {"depthwise stride 2 dilation 2",
       {1, 5, 6, 2},
       {2, 2, 3, 1},
       {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 2, .dilation_h = 2, .dilation_w = 2, .groups = 2}},
  };
  for (const Small& small : all) {
    const bool depthwise = small.options.groups == small.x[3] && small.w[0] == small.x[3];
    for (const bool bias : {true, false}) {
      cases.push_back({"conv2d", std::string(small.label) + (bias ? "" : ", no bias"),
                       [small, bias] {
                         std::vector<Tensor> inputs{random_tensor(small.x, 1), random_tensor(small.w, 2)};
                         if (bias) inputs.push_back(random_tensor({small.w[0]}, 3));
                         return inputs;
                       },
                       [small](const std::vector<Tensor>& in) {
                         return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor{}, small.options);
                       },
                       depthwise ? std::vector<std::string>{} : std::vector<std::string>{"depthwise"}});
    }
  }
  // Channels of an image, the rest of which stays zero, and two neighbours in one.
  for (const bool relu : {false, true}) {
    cases.push_back(
        {"conv2d",
         relu ? "into an image, relu" : "into an image",
         [] {
           return std::vector<Tensor>{random_tensor({2, 3, 4, 2}, 1), random_tensor({3, 3, 3, 2}, 2),
                                      random_tensor({3}, 3), random_tensor({2, 1, 1, 2}, 4)};
         },
         [relu](const std::vector<Tensor>& in) {
           const Tensor image = Tensor::zeros({2, 3, 4, 7}, Dtype::f64, in[0].device());
           const Tensor first = conv2d(in[0], in[3], {}, {}, {image, 0});
           return conv2d(in[0], in[1], in[2],
                         {.pad_h = 1, .pad_w = 1, .activation = relu ? Activation::relu : Activation::none},
                         {first, 3});
         },
         {"depthwise"}});
  }
}

}  // namespace fovea::cases
