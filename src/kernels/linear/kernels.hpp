// The kernels of linear, for its table.
#pragma once

#include "kernels/linear/linear.hpp"

namespace fovea {

void linear_forward_reference(const LinearProblem&, Ports, Stream);
void linear_backward_data_reference(const LinearProblem&, Ports, Stream);
void linear_backward_weights_reference(const LinearProblem&, Ports, Stream);

void linear_forward_onednn(const LinearProblem&, Ports, Stream);
void linear_backward_data_onednn(const LinearProblem&, Ports, Stream);
void linear_backward_weights_onednn(const LinearProblem&, Ports, Stream);

}  // namespace fovea
