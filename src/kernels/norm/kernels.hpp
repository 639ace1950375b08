// The kernels of batch_norm, for its tables.
#pragma once

#include "kernels/norm/norm.hpp"

namespace fovea {

void batch_norm_forward_training_reference(const BatchNormProblem&, Ports, Stream);
void batch_norm_forward_inference_reference(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_reference(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_inference_reference(const BatchNormProblem&, Ports, Stream);

void batch_norm_forward_training_cpu(const BatchNormProblem&, Ports, Stream);
void batch_norm_forward_inference_cpu(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_cpu(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_inference_cpu(const BatchNormProblem&, Ports, Stream);

bool batch_norm_forward_onednn_supports(const BatchNormProblem&);
bool batch_norm_backward_onednn_supports(const BatchNormProblem&);
void batch_norm_forward_training_onednn(const BatchNormProblem&, Ports, Stream);
void batch_norm_forward_inference_onednn(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_onednn(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_inference_onednn(const BatchNormProblem&, Ports, Stream);

bool batch_norm_forward_training_cudnn_supports(const BatchNormProblem&);
bool batch_norm_forward_inference_cudnn_supports(const BatchNormProblem&);
bool batch_norm_backward_cudnn_supports(const BatchNormProblem&);
bool batch_norm_backward_inference_cudnn_supports(const BatchNormProblem&);
void batch_norm_forward_training_cudnn(const BatchNormProblem&, Ports, Stream);
void batch_norm_forward_inference_cudnn(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_cudnn(const BatchNormProblem&, Ports, Stream);
void batch_norm_backward_inference_cudnn(const BatchNormProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                                   //
    bool supports_batch_norm_columns(const BatchNormProblem&);                          //
    void batch_norm_forward_training_columns(const BatchNormProblem&, Ports, Stream);   //
    void batch_norm_forward_inference_columns(const BatchNormProblem&, Ports, Stream);  //
    void batch_norm_backward_columns(const BatchNormProblem&, Ports, Stream);           //
    void batch_norm_backward_inference_columns(const BatchNormProblem&, Ports, Stream);)

}  // namespace fovea
