// Cases of concat: one to eight parts, odd widths, absent gradients.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/concat/concat.hpp"

namespace fovea::cases {

inline void concat_cases(std::vector<PrimitiveCase>& cases) {
  const std::vector<std::pair<const char*, ConcatProblem>> problems{
      {"one part", {.rows = 5, .parts = 1, .channels = {3}}},
      {"two parts", {.rows = 7, .parts = 2, .channels = {16, 3}}},
      {"one row", {.rows = 1, .parts = 3, .channels = {1, 5, 2}}},
      {"many rows", {.rows = 3001, .parts = 2, .channels = {13, 8}}},
      {"whole vectors", {.rows = 45, .parts = 3, .channels = {16, 64, 8}}},
      {"wide", {.rows = 3, .parts = 2, .channels = {20000, 7}}},
      {"eight parts", {.rows = 4, .parts = 8, .channels = {1, 2, 3, 4, 5, 6, 7, 8}}},
  };
  for (const auto& [label, p] : problems) {
    cases.push_back(make_case(concat_forward, label, p));
    cases.push_back(make_case(concat_backward, label, p));
    cases.push_back(make_case(concat_backward, std::string(label) + ", no dx0", p,
                              {[](const ConcatProblem&, PortTensors& ports) { ports[1] = {}; }}));
  }
}

inline void concat_grad_cases(std::vector<GradCase>& cases) {
  cases.push_back({"concat", "images",
                   [] {
                     return std::vector<Tensor>{random_tensor({2, 2, 3, 1}, 1),
                                                random_tensor({2, 2, 3, 4}, 2),
                                                random_tensor({2, 2, 3, 2}, 3)};
                   },
                   [](const std::vector<Tensor>& in) { return concat(in); }});
  cases.push_back({"concat", "one with itself",
                   [] {
                     return std::vector<Tensor>{random_tensor({2, 3}, 1)};
                   },
                   [](const std::vector<Tensor>& in) {
                     return concat({in[0], in[0]});
                   }});
  cases.push_back({"concat", "one part needs no gradient",
                   [] {
                     return std::vector<Tensor>{random_tensor({2, 3}, 1)};
                   },
                   [](const std::vector<Tensor>& in) {
                     return concat({random_tensor({2, 2}, 9).to(in[0].device()), in[0]});
                   }});
}

}  // namespace fovea::cases
