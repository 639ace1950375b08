// The kernels of scale_residual, for its tables, and what they share.
#pragma once

#include <vector>

#include "kernels/pointwise/scale_residual.hpp"

namespace fovea {

/// s of every sample; `key` is null or {seed, offset}.
std::vector<double> branch_scales(const ScaleResidualProblem& problem, const std::int64_t* key);

void scale_residual_forward_reference(const ScaleResidualProblem&, Ports, Stream);
void scale_residual_backward_reference(const ScaleResidualProblem&, Ports, Stream);
void scale_residual_forward_cpu(const ScaleResidualProblem&, Ports, Stream);
void scale_residual_backward_cpu(const ScaleResidualProblem&, Ports, Stream);

bool scale_residual_forward_cudnn_supports(const ScaleResidualProblem&);
void scale_residual_forward_cudnn(const ScaleResidualProblem&, Ports, Stream);
bool scale_residual_backward_cudnn_supports(const ScaleResidualProblem&);
void scale_residual_backward_cudnn(const ScaleResidualProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                                 //
    bool supports_scale_residual_columns(const ScaleResidualProblem&);                //
    void scale_residual_forward_columns(const ScaleResidualProblem&, Ports, Stream);  //
    void scale_residual_backward_columns(const ScaleResidualProblem&, Ports, Stream);)

}  // namespace fovea
