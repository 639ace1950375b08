// The kernels of pointwise, for its tables, and what they share.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/pointwise/pointwise.hpp"
#include "kernels/pointwise/pointwise_shape.hpp"

namespace fovea {

/// The four words that decide elements 4*block .. 4*block+3; `key` is {seed, offset}.
std::array<std::uint32_t, 4> dropout_words(const std::int64_t* key, std::int64_t block);

void relu_forward_reference(const PointwiseProblem&, Ports, Stream);
void relu_backward_reference(const PointwiseProblem&, Ports, Stream);
void sigmoid_forward_reference(const PointwiseProblem&, Ports, Stream);
void sigmoid_backward_reference(const PointwiseProblem&, Ports, Stream);
void gelu_forward_reference(const PointwiseProblem&, Ports, Stream);
void gelu_backward_reference(const PointwiseProblem&, Ports, Stream);
void add_forward_reference(const BroadcastProblem&, Ports, Stream);
void add_backward_reference(const BroadcastProblem&, Ports, Stream);
void multiply_forward_reference(const BroadcastProblem&, Ports, Stream);
void multiply_backward_reference(const BroadcastProblem&, Ports, Stream);
void dropout_forward_reference(const DropoutProblem&, Ports, Stream);
void dropout_backward_reference(const DropoutProblem&, Ports, Stream);

void relu_forward_cpu(const PointwiseProblem&, Ports, Stream);
void relu_backward_cpu(const PointwiseProblem&, Ports, Stream);
void sigmoid_forward_cpu(const PointwiseProblem&, Ports, Stream);
void sigmoid_backward_cpu(const PointwiseProblem&, Ports, Stream);
void gelu_forward_cpu(const PointwiseProblem&, Ports, Stream);
void gelu_backward_cpu(const PointwiseProblem&, Ports, Stream);
void add_forward_cpu(const BroadcastProblem&, Ports, Stream);
void add_backward_cpu(const BroadcastProblem&, Ports, Stream);
void multiply_forward_cpu(const BroadcastProblem&, Ports, Stream);
void multiply_backward_cpu(const BroadcastProblem&, Ports, Stream);
void dropout_forward_cpu(const DropoutProblem&, Ports, Stream);
void dropout_backward_cpu(const DropoutProblem&, Ports, Stream);

bool gelu_forward_cudnn_supports(const PointwiseProblem&);
bool gelu_backward_cudnn_supports(const PointwiseProblem&);
void gelu_forward_cudnn(const PointwiseProblem&, Ports, Stream);
void gelu_backward_cudnn(const PointwiseProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                       //
    bool supports_pointwise_vector(const PointwiseProblem&);                //
    bool supports_broadcast_vector(const BroadcastProblem&);                //
    bool supports_dropout_vector(const DropoutProblem&);                    //
    void relu_forward_vector(const PointwiseProblem&, Ports, Stream);       //
    void relu_backward_vector(const PointwiseProblem&, Ports, Stream);      //
    void sigmoid_forward_vector(const PointwiseProblem&, Ports, Stream);    //
    void sigmoid_backward_vector(const PointwiseProblem&, Ports, Stream);   //
    void gelu_forward_vector(const PointwiseProblem&, Ports, Stream);       //
    void gelu_backward_vector(const PointwiseProblem&, Ports, Stream);      //
    void add_forward_vector(const BroadcastProblem&, Ports, Stream);        //
    void add_backward_vector(const BroadcastProblem&, Ports, Stream);       //
    void multiply_forward_vector(const BroadcastProblem&, Ports, Stream);   //
    void multiply_backward_vector(const BroadcastProblem&, Ports, Stream);  //
    void dropout_forward_vector(const DropoutProblem&, Ports, Stream);      //
    void dropout_backward_vector(const DropoutProblem&, Ports, Stream);)

}  // namespace fovea
