// Cases of head: m and r of equal and of different sizes, one image, one pixel, odd channels, one class, more of
// everything than a block takes.
#pragma once

#include <cmath>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/head/head.hpp"

namespace fovea::cases {

inline std::vector<std::pair<const char*, HeadProblem>> head_problems() {
  return {
      {"14x14", {.n = 2, .c = 64, .m_h = 14, .m_w = 14, .r_h = 14, .r_w = 14, .hidden = 16, .classes = 3}},
      {"different sizes",
       {.n = 3, .c = 16, .m_h = 5, .m_w = 4, .r_h = 3, .r_w = 7, .hidden = 8, .classes = 3}},
      {"one image, one pixel", {.n = 1, .c = 8, .hidden = 4, .classes = 2}},
      {"odd channels", {.n = 2, .c = 13, .m_h = 3, .m_w = 3, .r_h = 2, .r_w = 2, .hidden = 5, .classes = 7}},
      {"one class, one unit",
       {.n = 4, .c = 6, .m_h = 2, .m_w = 3, .r_h = 3, .r_w = 2, .hidden = 1, .classes = 1}},
      {"more images than a group",
       {.n = 11, .c = 40, .m_h = 3, .m_w = 2, .r_h = 2, .hidden = 36, .classes = 5}},
      {"more channels than a tile and a block",
       {.n = 2, .c = 540, .m_h = 3, .m_w = 2, .r_w = 3, .hidden = 70, .classes = 3}},
      {"parts of an image", {.n = 1, .c = 3, .m_h = 35, .m_w = 33, .r_h = 40, .hidden = 4, .classes = 2}},
  };
}

// pooled, f and hid as the reference forward makes them.
inline void prepare_head_backward(const HeadProblem& p, PortTensors& ports) {
  const Tensor m = random_tensor(p.m_shape(), 51), r = random_tensor(p.r_shape(), 52),
               shortcut_bias = random_tensor({p.c}, 53),
               fc1_bias = random_tensor({p.hidden}, 54, Dtype::f64, 1, 1),
               fc2_bias = random_tensor({p.classes}, 55),
               logits = Tensor::empty({p.n, p.classes}, Dtype::f64);
  SelectionScope scope;
  selection().force("head.forward=reference");
  dispatch(
      head_forward, p,
      {m.view(), r.view(), ports[1].view(), shortcut_bias.view(), ports[2].view(), fc1_bias.view(),
       ports[3].view(), fc2_bias.view(), logits.view(), ports[4].view(), ports[5].view(), ports[6].view()});
}

inline void head_cases(std::vector<PrimitiveCase>& cases) {
  for (const auto& [label, p] : head_problems()) {
    const std::string name = label;
    cases.push_back(make_case(head_forward, name, p));
    cases.push_back(make_case(head_backward, name, p, {prepare_head_backward}));
    if (p.c > 100) continue;  // C x C weights take their time, and the two below add nothing there
    for (const std::size_t dropped : {std::size_t{7}, std::size_t{8}}) {
      cases.push_back(make_case(head_backward, name + (dropped == 7 ? ", no dm" : ", no dr"), p,
                                {[dropped](const HeadProblem& problem, PortTensors& ports) {
                                  prepare_head_backward(problem, ports);
                                  ports[dropped] = {};
                                }}));
    }
  }
}

inline void head_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape m, r;
    std::int64_t hidden, classes;
  };
  const std::vector<Small> all{{"same sizes", {2, 2, 3, 3}, {2, 2, 3, 3}, 4, 3},
                               {"different sizes", {2, 2, 2, 4}, {2, 3, 1, 4}, 3, 2},
                               {"one image, one pixel", {1, 1, 1, 3}, {1, 1, 1, 3}, 1, 1}};
  for (const Small& small : all) {
    cases.push_back({"head", small.label,
                     [small] {
                       const std::int64_t c = small.m[3];
                       return std::vector<Tensor>{random_tensor(small.m, 1),
                                                  random_tensor(small.r, 2),
                                                  random_tensor({c, c}, 3),
                                                  random_tensor({c}, 4),
                                                  random_tensor({small.hidden, c}, 5),
                                                  random_tensor({small.hidden}, 6, Dtype::f64, 0.5, 1),
                                                  random_tensor({small.classes, small.hidden}, 7),
                                                  random_tensor({small.classes}, 8)};
                     },
                     [](const std::vector<Tensor>& in) {
                       return head(in[0], in[1], {in[2], in[3], in[4], in[5], in[6], in[7]});
                     }});
  }
}

}  // namespace fovea::cases
