// Cases of scale_residual: channels that no vector divides, one row, more than a part, every sample dropped, none.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/pointwise/scale_residual.hpp"

namespace fovea::cases {

inline void scale_residual_cases(std::vector<PrimitiveCase>& cases) {
  using P = ScaleResidualProblem;
  const std::vector<std::pair<const char*, P>> problems{
      {"one of each", {}},
      {"many samples of one row", {.samples = 37, .channels = 13, .p = 0.4}},
      {"whole vectors", {.samples = 6, .rows = 9, .channels = 96, .p = 0.5}},
      {"odd channels", {.samples = 5, .rows = 14, .channels = 33, .p = 0.2}},
      {"more than a part", {.samples = 3, .rows = 301, .channels = 40, .p = 0.4}},
      {"more than a tile", {.samples = 2, .rows = 2, .channels = 1032, .p = 0.4}},
      {"all dropped", {.samples = 3, .rows = 5, .channels = 8, .p = 1}},
  };
  for (const auto& [label, p] : problems) {
    for (const bool drawn : {true, false}) {
      const std::string name = label + std::string(drawn ? "" : ", none drawn");
      const auto key_at = [drawn](std::size_t port) {
        return [drawn, port](const P&, PortTensors& ports) {
          if (!drawn) {
            ports[port] = {};
            return;
          }
          ports[port].data<std::int64_t>()[0] = -0x123456789abcdef;
          ports[port].data<std::int64_t>()[1] = 0x5000000007;
        };
      };
      cases.push_back(make_case<P>(scale_residual_forward, name, p, key_at(3)));
      cases.push_back(make_case<P>(scale_residual_backward, name, p, key_at(2)));
    }
  }
}

inline void scale_residual_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape x, gamma;
    double p;
  };
  const std::vector<Small> all{{"inference", {2, 3, 2, 3}, {3, 1, 1}, 0},
                               {"drawn", {5, 2, 4}, {4}, 0.5},
                               {"samples x channels", {6, 3}, {3}, 0.3},
                               {"all dropped", {2, 2, 3}, {3}, 1}};
  for (const Small& small : all) {
    cases.push_back({"scale_residual", small.label,
                     [small] {
                       return std::vector<Tensor>{random_tensor(small.x, 1), random_tensor(small.x, 2),
                                                  random_tensor(small.gamma, 3)};
                     },
                     [small](const std::vector<Tensor>& in) {
                       return scale_residual(in[0], in[1], in[2], small.p, 42, 7);
                     }});
  }
  cases.push_back(
      {"scale_residual", "of itself",
       [] {
         return std::vector<Tensor>{random_tensor({3, 2, 4}, 1), random_tensor({4}, 2)};
       },
       [](const std::vector<Tensor>& in) { return scale_residual(in[0], in[0], in[1], 0.4, 3, 1); }});
}

}  // namespace fovea::cases
