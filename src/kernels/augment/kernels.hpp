// The kernels of augment, for its table.
#pragma once

#include "kernels/augment/augment.hpp"

namespace fovea {

void augment_forward_reference(const AugmentProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                     //
    void augment_forward_resample(const AugmentProblem&, Ports, Stream);  //
    bool supports_augment_forward_resample(const AugmentProblem&);)

/// The rows of the port.
inline const ResampleParameters* resample_rows(const View& params) {
  return reinterpret_cast<const ResampleParameters*>(params.as<const double>());
}

}  // namespace fovea
