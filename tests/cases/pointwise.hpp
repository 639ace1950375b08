// Cases of relu, sigmoid, gelu, add, multiply and dropout: counts that no vector divides, and every pattern of
// broadcast that merges, splits, holds or sums dimensions differently.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/pointwise/pointwise.hpp"

namespace fovea::cases {

struct BroadcastPair {
  const char* label;
  Shape a, b;
};

inline std::vector<BroadcastPair> broadcast_pairs() {
  return {
      {"same shape", {3, 5, 7}, {3, 5, 7}},
      {"same shape, more than a block", {2, 97, 131}, {2, 97, 131}},
      {"scalar right", {4, 5}, {}},
      {"scalar left", {}, {4, 5}},
      {"both scalars", {}, {}},
      {"ones", {1, 1}, {1}},
      {"channels", {2, 3, 2, 16}, {16}},
      {"channels of a large image", {2, 40, 41, 13}, {13}},
      {"channels left", {7}, {2, 3, 7}},
      {"per image and channel", {2, 3, 3, 5}, {2, 1, 1, 5}},
      {"per pixel", {2, 3, 2, 9}, {2, 3, 2, 1}},
      {"per pixel of many", {1, 64, 64, 33}, {1, 64, 64, 1}},
      {"per image", {3, 2, 5, 3}, {3, 1, 1, 1}},
      {"outer sum", {5, 1}, {1, 7}},
      {"outer sum, long rows", {3, 1}, {1, 20000}},
      {"crossed", {2, 1, 2, 1, 3}, {1, 3, 2, 4, 1}},
      {"alternating", {2, 3, 2, 3, 4}, {2, 1, 2, 1, 4}},
      {"inner kept between sums", {4, 1, 6}, {1, 5, 6}},
      {"inner one", {4, 3, 1}, {1, 3, 1}},
      {"long sum", {1}, {9001}},
      {"whole vectors, held left", {6, 1}, {6, 32}},
      {"empty", {0, 3}, {3}},
      {"empty rows", {2, 3, 0}, {2, 1, 1}},
  };
}

inline void pointwise_cases(std::vector<PrimitiveCase>& cases) {
  for (const std::int64_t count : {1, 7, 64, 8191, 20011}) {
    const std::string label = std::to_string(count) + " elements";
    const PointwiseProblem p{.count = count};
    cases.push_back(make_case(relu_forward, label, p));
    cases.push_back(make_case(relu_backward, label, p));
    cases.push_back(make_case(sigmoid_forward, label, p));
    cases.push_back(make_case(sigmoid_backward, label, p));
    cases.push_back(make_case(gelu_forward, label, p));
    cases.push_back(make_case(gelu_backward, label, p));
    for (const double probability : {0.0, 0.3, 0.5, 1.0}) {
      const DropoutProblem d{.count = count, .p = probability};
      const std::string with_p = label + ", p " + std::to_string(probability);
      cases.push_back(make_case(dropout_forward, with_p, d, {[](const DropoutProblem&, PortTensors& ports) {
                                  ports[1].data<std::int64_t>()[0] = -0x123456789abcdef;
                                  ports[1].data<std::int64_t>()[1] = 0x5000000007;
                                }}));
      cases.push_back(
          make_case(dropout_backward, with_p, d, {[](const DropoutProblem& q, PortTensors& ports) {
                      auto* mask = ports[0].data<std::uint8_t>();
                      for (std::int64_t i = 0; i < q.count; ++i) {
                        mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | (i % 3 != 0) << i % 8);
                      }
                    }}));
    }
  }
  cases.push_back(make_case(sigmoid_forward, "saturated", PointwiseProblem{.count = 9},
                            {[](const PointwiseProblem&, PortTensors& ports) {
                              for (int i = 0; i < 9; ++i) ports[0].data<double>()[i] = (i - 4) * 25.0;
                            }}));
  for (const auto* gelu : {&gelu_forward, &gelu_backward}) {
    cases.push_back(make_case(*gelu, "far out", PointwiseProblem{.count = 41},
                              {[](const PointwiseProblem&, PortTensors& ports) {
                                for (int i = 0; i < 41; ++i) ports[0].data<double>()[i] = (i - 20) * 0.75;
                              }}));
  }
  for (const BroadcastPair& pair : broadcast_pairs()) {
    const BroadcastProblem p{.a = pair.a, .b = pair.b};
    const std::string label = pair.label;
    cases.push_back(make_case(add_forward, label, p));
    cases.push_back(make_case(multiply_forward, label, p));
    cases.push_back(make_case(add_backward, label, p));
    cases.push_back(make_case(multiply_backward, label, p));
    cases.push_back(make_case(add_backward, label + ", da only", p,
                              {[](const BroadcastProblem&, PortTensors& ports) { ports[2] = {}; }}));
    cases.push_back(make_case(add_backward, label + ", db only", p,
                              {[](const BroadcastProblem&, PortTensors& ports) { ports[1] = {}; }}));
    cases.push_back(make_case(multiply_backward, label + ", da only", p,
                              {[](const BroadcastProblem&, PortTensors& ports) { ports[4] = {}; }}));
    cases.push_back(make_case(multiply_backward, label + ", db only", p,
                              {[](const BroadcastProblem&, PortTensors& ports) { ports[3] = {}; }}));
  }
}

inline void pointwise_grad_cases(std::vector<GradCase>& cases) {
  const auto one = [] { return std::vector<Tensor>{random_tensor({3, 5}, 1)}; };
  cases.push_back({"relu", "3x5", one, [](const std::vector<Tensor>& in) { return relu(in[0]); }});
  cases.push_back({"sigmoid", "3x5", one, [](const std::vector<Tensor>& in) { return sigmoid(in[0]); }});
  cases.push_back({"gelu", "3x5", one, [](const std::vector<Tensor>& in) { return gelu(in[0]); }});
  cases.push_back({"reshape", "3x5 as 15", one, [](const std::vector<Tensor>& in) {
                     return multiply(reshape(in[0], {15}), reshape(in[0], {15}));
                   }});
  for (const double p : {0.0, 0.4, 1.0}) {
    cases.push_back({"dropout", "p " + std::to_string(p), one,
                     [p](const std::vector<Tensor>& in) { return dropout(in[0], p, 42, 7); }});
  }
  for (const BroadcastPair& pair : broadcast_pairs()) {
    if (pair.a.numel() > 1000 || pair.b.numel() > 1000) continue;
    const auto inputs = [pair] {
      return std::vector<Tensor>{random_tensor(pair.a, 1), random_tensor(pair.b, 2)};
    };
    cases.push_back(
        {"add", pair.label, inputs, [](const std::vector<Tensor>& in) { return add(in[0], in[1]); }});
    cases.push_back({"multiply", pair.label, inputs,
                     [](const std::vector<Tensor>& in) { return multiply(in[0], in[1]); }});
  }
  cases.push_back({"add", "to itself", one, [](const std::vector<Tensor>& in) { return add(in[0], in[0]); }});
  cases.push_back(
      {"multiply", "by itself", one, [](const std::vector<Tensor>& in) { return multiply(in[0], in[0]); }});
}

}  // namespace fovea::cases
