// The kernels of cast, for its table.
#pragma once

#include "kernels/cast/cast.hpp"

namespace fovea {

void cast_forward_reference(const CastProblem&, Ports, Stream);
void cast_forward_cpu(const CastProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                               //
    bool supports_cast_vector(const CastProblem&);  //
    void cast_forward_vector(const CastProblem&, Ports, Stream);)

}  // namespace fovea
