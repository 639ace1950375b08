// Cases of ham: both variants; one image, one pixel, odd sizes and channels that no vector divides, one
// hidden unit, more pixels than parts of an image, more channels than a warp holds, more hidden units than
// channels, and the shape of R5 (in fp64 it needs a cluster of four blocks).
#pragma once

#include <cmath>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/ham/ham.hpp"

namespace fovea::cases {

inline std::vector<std::pair<const char*, HamProblem>> ham_problems() {
  return {
      {"16 channels, 1 hidden", {.n = 2, .h = 5, .w = 7, .c = 16, .hidden = 1}},
      {"one image", {.n = 1, .h = 9, .w = 9, .c = 32, .hidden = 2}},
      {"one pixel", {.n = 3, .h = 1, .w = 1, .c = 16, .hidden = 4}},
      {"odd channels", {.n = 2, .h = 3, .w = 7, .c = 13, .hidden = 3}},
      {"one channel", {.n = 2, .h = 4, .w = 3, .c = 1, .hidden = 1}},
      {"fewer pixels than parts", {.n = 2, .h = 3, .w = 3, .c = 37, .hidden = 2}},
      {"20 channels: vectors of 4, not of 8", {.n = 2, .h = 3, .w = 5, .c = 20, .hidden = 5}},
      {"5 images", {.n = 5, .h = 3, .w = 7, .c = 24, .hidden = 3}},
      {"33 pixels of 64 channels", {.n = 3, .h = 3, .w = 11, .c = 64, .hidden = 4}},
      {"256 channels, 2 pixels", {.n = 2, .h = 1, .w = 2, .c = 256, .hidden = 16}},
      {"more hidden units than channels", {.n = 1, .h = 5, .w = 4, .c = 12, .hidden = 70}},
      {"67 channels", {.n = 1, .h = 7, .w = 6, .c = 67, .hidden = 4}},
      {"more than 512 channels", {.n = 1, .h = 4, .w = 4, .c = 520, .hidden = 9}},
      {"more than 512 channels, odd", {.n = 2, .h = 2, .w = 3, .c = 519, .hidden = 3}},
      {"512 channels at 14", {.n = 1, .h = 14, .w = 14, .c = 512, .hidden = 32}},
  };
}

// Logits of the order of one, as after the initialisation of a model.
inline void scale_ham_weights(Tensor& spatial_weight, Tensor& fc1_weight, Tensor& fc2_weight) {
  const auto fan_in = [](const Tensor& w) { return static_cast<double>(w.shape()[-1]); };
  spatial_weight =
      random_tensor(spatial_weight.shape(), 41, Dtype::f64, 1 / std::sqrt(fan_in(spatial_weight)));
  fc1_weight = random_tensor(fc1_weight.shape(), 42, Dtype::f64, 1 / std::sqrt(fan_in(fc1_weight)));
  fc2_weight = random_tensor(fc2_weight.shape(), 43, Dtype::f64, 1 / std::sqrt(fan_in(fc2_weight)));
}

inline void prepare_ham_forward(const HamProblem&, PortTensors& ports) {
  scale_ham_weights(ports[1], ports[3], ports[5]);
}

// s, a, z and wgt as the reference forward makes them.
inline void prepare_ham_backward(const HamProblem& p, PortTensors& ports) {
  scale_ham_weights(ports[2], ports[3], ports[4]);
  const Tensor y = Tensor::empty(p.x_shape(), Dtype::f64), spatial_bias = random_tensor({1}, 44),
               fc1_bias = random_tensor({p.hidden}, 45), fc2_bias = random_tensor({p.c}, 46);
  SelectionScope scope;
  selection().force("ham.forward=reference");
  dispatch(ham_forward, p,
           {ports[0].view(), ports[2].view(), spatial_bias.view(), ports[3].view(), fc1_bias.view(),
            ports[4].view(), fc2_bias.view(), y.view(), ports[5].view(), ports[6].view(), ports[7].view(),
            ports[8].view()});
}

inline void ham_cases(std::vector<PrimitiveCase>& cases) {
  for (const auto& [label, p] : ham_problems()) {
    for (const bool scse : {false, true}) {
      HamProblem problem = p;
      problem.scse = scse;
      const std::string name = std::string(label) + (scse ? ", scse" : "");
      cases.push_back(make_case(ham_forward, name, problem, {prepare_ham_forward}));
      // One hidden unit or one pixel leaves few terms of either sign in a sum of thousands: more
      // cancellation.
      cases.push_back(make_case(ham_backward, name, problem, {prepare_ham_backward}, 10));
    }
  }
}

inline void ham_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape x;
    std::int64_t hidden;
  };
  const std::vector<Small> all{{"2x3x2x5", {2, 3, 2, 5}, 3},
                               {"one image", {1, 2, 4, 3}, 2},
                               {"one pixel", {2, 1, 1, 4}, 2},
                               {"16 channels, 1 hidden", {1, 2, 2, 16}, 1}};
  for (const Small& small : all) {
    for (const HamVariant variant : {HamVariant::paper, HamVariant::scse}) {
      cases.push_back({"ham", std::string(small.label) + (variant == HamVariant::scse ? ", scse" : ""),
                       [small] {
                         const std::int64_t c = small.x[3];
                         return std::vector<Tensor>{random_tensor(small.x, 1),
                                                    random_tensor({c}, 2, Dtype::f64, 0.5),
                                                    random_tensor({1}, 3),
                                                    random_tensor({small.hidden, c}, 4),
                                                    random_tensor({small.hidden}, 5, Dtype::f64, 0.3, 0.5),
                                                    random_tensor({c, small.hidden}, 6),
                                                    random_tensor({c}, 7)};
                       },
                       [variant](const std::vector<Tensor>& in) {
                         return ham(in[0], {in[1], in[2], in[3], in[4], in[5], in[6]}, variant);
                       }});
    }
  }
}

}  // namespace fovea::cases
