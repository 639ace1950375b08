// Cases of softmax cross-entropy: one class, one row, smoothing, class weights (a zero among them), huge
// logits, more classes than a warp has lanes; and of the softmax alone.
#pragma once

#include <cmath>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/loss/loss.hpp"

namespace fovea::cases {

inline Tensor some_labels(std::int64_t n, std::int64_t k) {
  Tensor labels = Tensor::empty({n}, Dtype::i64);
  for (std::int64_t i = 0; i < n; ++i) labels.data<std::int64_t>()[i] = (i * 7 + 2) % k;
  return labels;
}

inline Tensor some_class_weights(std::int64_t k) {
  Tensor weights = Tensor::empty({k}, Dtype::f64);
  for (std::int64_t i = 0; i < k; ++i) weights.data<double>()[i] = 0.25 + 0.5 * static_cast<double>(i % 4);
  if (k > 3) weights.data<double>()[3] = 0;
  return weights;
}

// Rows of positive numbers with sum one.
inline void make_probabilities(Tensor& values, std::int64_t n, std::int64_t k) {
  double* at = values.data<double>();
  for (std::int64_t row = 0; row < n; ++row) {
    double sum = 0;
    for (std::int64_t c = 0; c < k; ++c) sum += std::exp(at[row * k + c]);
    for (std::int64_t c = 0; c < k; ++c) at[row * k + c] = std::exp(at[row * k + c]) / sum;
  }
}

inline void softmax_cases(std::vector<PrimitiveCase>& cases) {
  for (const auto& [n, k] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {1, 3}, {9, 32}, {33, 13}, {17, 67}, {3, 260}}) {
    const SoftmaxProblem p{.n = n, .k = k};
    const std::string label = std::to_string(n) + "x" + std::to_string(k);
    cases.push_back(make_case<SoftmaxProblem>(softmax_forward, label, p));
    // dy - sum p dy cancels.
    cases.push_back(make_case<SoftmaxProblem>(
        softmax_backward, label, p,
        [](const SoftmaxProblem& q, PortTensors& ports) { make_probabilities(ports[0], q.n, q.k); }, 4));
  }
  cases.push_back(make_case<SoftmaxProblem>(softmax_forward, "huge", {.n = 3, .k = 4},
                                            [](const SoftmaxProblem&, PortTensors& ports) {
                                              for (int i = 0; i < 12; ++i)
                                                ports[0].data<double>()[i] = (i * 5 % 12 - 6) * 1e4;
                                            }));
}

inline void loss_cases(std::vector<PrimitiveCase>& cases) {
  for (const auto& [n, k] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {1, 3}, {8, 3}, {33, 13}, {9, 70}}) {
    for (const double smoothing : {0.0, 0.1, 1.0}) {
      for (const bool weighted : {false, true}) {
        const CrossEntropyProblem p{.n = n, .k = k, .label_smoothing = smoothing};
        const std::string label = std::to_string(n) + "x" + std::to_string(k) + ", smoothing " +
                                  std::to_string(smoothing) + (weighted ? ", weights" : "");
        const auto prepare = [weighted](const CrossEntropyProblem& q, PortTensors& ports) {
          ports[1] = some_labels(q.n, q.k);
          ports[2] = weighted ? some_class_weights(q.k) : Tensor{};
        };
        cases.push_back(make_case<CrossEntropyProblem>(softmax_cross_entropy_forward, label, p, prepare));
        cases.push_back(make_case<CrossEntropyProblem>(
            softmax_cross_entropy_backward, label, p,
            [prepare](const CrossEntropyProblem& q, PortTensors& ports) {
              prepare(q, ports);
              make_probabilities(ports[0], q.n, q.k);
            },
            // In fp32 the difference p - 1 cancels where one class has nearly all the probability.
            4));
      }
    }
  }
  cases.push_back(make_case<CrossEntropyProblem>(softmax_cross_entropy_forward, "huge logits",
                                                 {.n = 3, .k = 4},
                                                 [](const CrossEntropyProblem&, PortTensors& ports) {
                                                   for (int i = 0; i < 12; ++i) {
                                                     ports[0].data<double>()[i] = (i * 5 % 12 - 6) * 1e4;
                                                   }
                                                   ports[1] = some_labels(3, 4);
                                                   ports[2] = {};
                                                 }));
}

inline void loss_grad_cases(std::vector<GradCase>& cases) {
  for (const Shape& shape : {Shape{4, 5}, Shape{2, 3, 2}, Shape{3}}) {
    cases.push_back({"softmax", to_string(shape),
                     [shape] { return std::vector<Tensor>{random_tensor(shape, 1)}; },
                     [](const std::vector<Tensor>& in) { return softmax(in[0]); }});
  }
  for (const double smoothing : {0.0, 0.1}) {
    for (const bool weighted : {false, true}) {
      const std::string label = "smoothing " + std::to_string(smoothing) + (weighted ? ", weights" : "");
      cases.push_back({"softmax_cross_entropy", label,
                       [] {
                         return std::vector<Tensor>{random_tensor({6, 5}, 1)};
                       },
                       [=](const std::vector<Tensor>& in) {
                         CrossEntropyOptions options{.label_smoothing = smoothing, .class_weights = {}};
                         if (weighted) options.class_weights = some_class_weights(5);
                         return cross_entropy(in[0], some_labels(6, 5), options);
                       }});
    }
  }
}

}  // namespace fovea::cases
