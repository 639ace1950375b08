// The kernels of layer_norm, for its tables.
#pragma once

#include "kernels/layer_norm/layer_norm.hpp"

namespace fovea {

void layer_norm_forward_reference(const LayerNormProblem&, Ports, Stream);
void layer_norm_backward_reference(const LayerNormProblem&, Ports, Stream);
void layer_norm_forward_cpu(const LayerNormProblem&, Ports, Stream);
void layer_norm_backward_cpu(const LayerNormProblem&, Ports, Stream);

bool layer_norm_forward_cudnn_supports(const LayerNormProblem&);
bool layer_norm_backward_cudnn_supports(const LayerNormProblem&);
void layer_norm_forward_cudnn(const LayerNormProblem&, Ports, Stream);
void layer_norm_backward_cudnn(const LayerNormProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                           //
    bool supports_layer_norm_warp_rows(const LayerNormProblem&);                //
    void layer_norm_forward_warp_rows(const LayerNormProblem&, Ports, Stream);  //
    void layer_norm_backward_warp_rows(const LayerNormProblem&, Ports, Stream);)

}  // namespace fovea
