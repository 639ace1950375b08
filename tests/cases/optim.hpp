// Cases of adam, sgd and sum_of_squares in their flat form, and of clip_scale; the list form, whose tables hold
// addresses, is held to the flat one by optim_test and optimizer_test.
#pragma once

#include <cmath>

#include "cases/case.hpp"
#include "kernels/optim/optim.hpp"

namespace fovea::cases {

inline void make_positive(Tensor& values) {
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.data<double>()[i] = 0.1 + std::abs(values.data<double>()[i]);
}

// The two ports from `at` on, or neither.
inline void prepare_scale_and_shadow(bool wanted, PortTensors& ports, std::size_t at) {
  ports[at] = wanted ? Tensor::full({}, 0.25, Dtype::f64) : Tensor{};
  if (!wanted) ports[at + 1] = {};
}

inline void optim_cases(std::vector<PrimitiveCase>& cases) {
  for (const std::int64_t count : {1, 13, 16384, 40003}) {
    const std::string label = std::to_string(count) + " elements";
    for (const std::int64_t step : {1, 1000}) {
      for (const std::int32_t decoupled : {0, 1}) {
        for (const double decay : {0.0, 0.1}) {
          const AdamProblem p{.decoupled = decoupled,
                              .count = count,
                              .step = step,
                              .learning_rate = 0.01,
                              .weight_decay = decay,
                              .grad_scale = 0.5};
          cases.push_back(make_case<AdamProblem>(adam,
                                                 label + ", step " + std::to_string(step) + ", decay " +
                                                     std::to_string(decay) + (decoupled ? ", decoupled" : ""),
                                                 p, [](const AdamProblem& q, PortTensors& ports) {
                                                   make_positive(ports[3]);  // as second moments are
                                                   prepare_scale_and_shadow(q.step == 1, ports, 4);
                                                 }));
        }
      }
    }
    for (const double momentum : {0.0, 0.9}) {
      const SgdProblem p{
          .count = count, .learning_rate = 0.1, .momentum = momentum, .weight_decay = 0.01, .grad_scale = 2};
      cases.push_back(make_case<SgdProblem>(sgd, label + ", momentum " + std::to_string(momentum), p,
                                            [](const SgdProblem& q, PortTensors& ports) {
                                              if (q.momentum == 0) ports[2] = {};
                                              prepare_scale_and_shadow(q.momentum == 0, ports, 3);
                                            }));
    }
    // The result is fp64 whatever the elements are, so these hold values that fp32 has exactly.
    cases.push_back(make_case<SumOfSquaresProblem>(sum_of_squares, label, {.count = count},
                                                   [](const SumOfSquaresProblem&, PortTensors& ports) {
                                                     ports[0] = ports[0].to(Dtype::f32).to(Dtype::f64);
                                                   }));
  }
  // A scale that is not finite leaves everything as it is.
  for (const double scale : {std::nan(""), static_cast<double>(INFINITY)}) {
    const auto prepare = [scale](PortTensors& ports, std::size_t at) {
      ports[at] = Tensor::full({}, scale, Dtype::f64);
    };
    const std::string label = "scale " + std::to_string(scale);
    cases.push_back(
        make_case<AdamProblem>(adam, label, {.count = 13},
                               [prepare](const AdamProblem&, PortTensors& ports) { prepare(ports, 4); }));
    cases.push_back(
        make_case<SgdProblem>(sgd, label, {.count = 13, .momentum = 0.9},
                              [prepare](const SgdProblem&, PortTensors& ports) { prepare(ports, 3); }));
  }
  const auto with_sum = [](double sum) {
    return
        [sum](const ClipScaleProblem&, PortTensors& ports) { ports[0] = Tensor::full({}, sum, Dtype::f64); };
  };
  cases.push_back(make_case<ClipScaleProblem>(clip_scale, "clips", {.clip_norm = 1.5}, with_sum(9)));
  cases.push_back(make_case<ClipScaleProblem>(clip_scale, "below the norm", {.clip_norm = 1.5}, with_sum(2)));
  cases.push_back(make_case<ClipScaleProblem>(clip_scale, "no clipping", {}, with_sum(9)));
  cases.push_back(make_case<ClipScaleProblem>(clip_scale, "zero gradient", {.clip_norm = 1}, with_sum(0)));
}

}  // namespace fovea::cases
