// The kernels of concat, for its table.
#pragma once

#include "kernels/concat/concat.hpp"

namespace fovea {

void concat_forward_reference(const ConcatProblem&, Ports, Stream);
void concat_backward_reference(const ConcatProblem&, Ports, Stream);
void concat_forward_cpu(const ConcatProblem&, Ports, Stream);
void concat_backward_cpu(const ConcatProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                 //
    bool supports_concat_vector(const ConcatProblem&);                //
    void concat_forward_vector(const ConcatProblem&, Ports, Stream);  //
    void concat_backward_vector(const ConcatProblem&, Ports, Stream);)

}  // namespace fovea
