// Cases of adam, sgd and sum_of_squares in their flat form; the list form, whose tables hold addresses, is
// held to the flat one by optimizer_test.
#pragma once

#include <cmath>

#include "cases/case.hpp"
#include "kernels/optim/optim.hpp"

namespace fovea::cases {

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
          cases.push_back(make_case<AdamProblem>(
              adam,
              label + ", step " + std::to_string(step) + ", decay " + std::to_string(decay) +
                  (decoupled ? ", decoupled" : ""),
              p, [](const AdamProblem& q, PortTensors& ports) {
                for (std::int64_t i = 0; i < q.count; ++i) {  // a second moment is never negative
                  ports[3].data<double>()[i] = 0.1 + std::abs(ports[3].data<double>()[i]);
                }
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
                                            }));
    }
    // The result is fp64 whatever the elements are, so these hold values that fp32 has exactly.
    cases.push_back(make_case<SumOfSquaresProblem>(sum_of_squares, label, {.count = count},
                                                   [](const SumOfSquaresProblem&, PortTensors& ports) {
                                                     ports[0] = ports[0].to(Dtype::f32).to(Dtype::f64);
                                                   }));
  }
}

}  // namespace fovea::cases
