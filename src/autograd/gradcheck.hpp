// Gradient check: every entry of the Jacobian from backward against central differences, in fp64.
//
// As torch.autograd.gradcheck (eps 1e-6, atol 1e-5, rtol 1e-3), but with tighter bounds, which fp64 central
// differences of smooth functions meet: |analytic - numeric| <= atol + rtol |numeric|. Outputs of any shape:
// backward runs once per output element, so functions should be small; directional_check is for whole models.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/tensor.hpp"

namespace fovea {

struct GradcheckOptions {
  double eps = 1e-6;
  double atol = 1e-6;
  double rtol = 1e-5;
  Device device = Device::cpu;  // where the function runs; inputs are given on the CPU
};

struct GradcheckResult {
  bool passed = true;
  double worst = 0;         // the largest |analytic - numeric| / (atol + rtol |numeric|); above 1 fails
  std::string explanation;  // of a failure: which input and output element, and both values
};

using TensorFunction = std::function<Tensor(const std::vector<Tensor>&)>;

/// `inputs` must be fp64; all are made leaves that require a gradient. A NaN anywhere fails.
GradcheckResult gradcheck(const TensorFunction& function, std::vector<Tensor> inputs,
                          const GradcheckOptions& options = {});

/// For a scalar `loss` over many parameters: the derivative along one random direction (seeded) against a
/// central difference with step `eps`. Returns the relative error. Parameters are restored.
double directional_check(const std::function<Tensor()>& loss, const std::vector<Tensor>& parameters,
                         std::uint64_t seed, double eps = 1e-6);

}  // namespace fovea
