// The kernels of head, for its table.
#pragma once

#include "kernels/head/head.hpp"

namespace fovea {

void head_forward_reference(const HeadProblem&, Ports, Stream);
void head_backward_reference(const HeadProblem&, Ports, Stream);

void head_forward_composed(const HeadProblem&, Ports, Stream);
void head_backward_composed(const HeadProblem&, Ports, Stream);

}  // namespace fovea
