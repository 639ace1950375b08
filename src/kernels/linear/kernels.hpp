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

bool linear_forward_cublas_supports(const LinearProblem&);
bool linear_backward_data_cublas_supports(const LinearProblem&);
bool linear_backward_weights_cublas_supports(const LinearProblem&);
void linear_forward_cublas(const LinearProblem&, Ports, Stream);
void linear_backward_data_cublas(const LinearProblem&, Ports, Stream);
void linear_backward_weights_cublas(const LinearProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                         //
    void linear_forward_tiled(const LinearProblem&, Ports, Stream);           //
    void linear_backward_data_tiled(const LinearProblem&, Ports, Stream);     //
    void linear_backward_weights_tiled(const LinearProblem&, Ports, Stream);  //
    bool supports_linear_tiled(const LinearProblem&);)

}  // namespace fovea
