// The kernels of loss, for its table.
#pragma once

#include "kernels/loss/loss.hpp"

namespace fovea {

void softmax_cross_entropy_forward_reference(const CrossEntropyProblem&, Ports, Stream);
void softmax_cross_entropy_backward_reference(const CrossEntropyProblem&, Ports, Stream);

}  // namespace fovea
