// Cases of linear: one row, one input, one output, odd sizes, more than a tile, sums in several parts, with
// and without bias and ReLU.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/linear/linear.hpp"

namespace fovea::cases {

inline void linear_cases(std::vector<PrimitiveCase>& cases) {
  const std::vector<std::pair<const char*, LinearProblem>> problems{
      {"one of everything", {.n = 1, .in = 1, .out = 1}},
      {"one row", {.n = 1, .in = 37, .out = 5}},
      {"classifier", {.n = 8, .in = 512, .out = 64}},
      {"logits", {.n = 8, .in = 64, .out = 3}},
      {"one input", {.n = 5, .in = 1, .out = 9}},
      {"odd", {.n = 7, .in = 13, .out = 17}},
      {"many rows", {.n = 67, .in = 33, .out = 31}},
      {"tiles, parts of a sum", {.n = 5, .in = 700, .out = 72}},
      {"vectors along one line only", {.n = 3, .in = 40, .out = 6}},
      {"a batch in parts", {.n = 300, .in = 24, .out = 16}},
  };
  for (const auto& [label, p] : problems) {
    const std::string name = label;
    LinearProblem relu = p;
    relu.relu = 1;
    cases.push_back(make_case(linear_forward, name, p));
    cases.push_back(make_case(linear_forward, name + ", relu", relu));
    cases.push_back(make_case(linear_forward, name + ", relu, no bias", relu,
                              {[](const LinearProblem&, PortTensors& ports) { ports[2] = {}; }}));
    cases.push_back(make_case(linear_backward_data, name, p));
    cases.push_back(make_case(linear_backward_weights, name, p));
    cases.push_back(make_case(linear_backward_weights, name + ", no bias", p,
                              {[](const LinearProblem&, PortTensors& ports) { ports[3] = {}; }}));
  }
}

inline void linear_grad_cases(std::vector<GradCase>& cases) {
  for (const Activation activation : {Activation::none, Activation::relu}) {
    for (const bool bias : {true, false}) {
      const std::string label =
          std::string(activation == Activation::relu ? "relu" : "plain") + (bias ? "" : ", no bias");
      cases.push_back({"linear", label,
                       [bias] {
                         std::vector<Tensor> inputs{random_tensor({3, 4}, 1), random_tensor({5, 4}, 2)};
                         if (bias) inputs.push_back(random_tensor({5}, 3));
                         return inputs;
                       },
                       [activation](const std::vector<Tensor>& in) {
                         return linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor{}, activation);
                       }});
    }
  }
}

}  // namespace fovea::cases
