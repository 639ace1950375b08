// The kernels of concat, for its table.
#pragma once

#include "kernels/concat/concat.hpp"

namespace fovea {

void concat_forward_reference(const ConcatProblem&, Ports, Stream);
void concat_backward_reference(const ConcatProblem&, Ports, Stream);
void concat_forward_cpu(const ConcatProblem&, Ports, Stream);
void concat_backward_cpu(const ConcatProblem&, Ports, Stream);

}  // namespace fovea
