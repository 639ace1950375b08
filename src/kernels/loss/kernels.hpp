// The kernels of loss, for its table.
#pragma once

#include "kernels/loss/loss.hpp"

namespace fovea {

void softmax_cross_entropy_forward_reference(const CrossEntropyProblem&, Ports, Stream);
void softmax_cross_entropy_backward_reference(const CrossEntropyProblem&, Ports, Stream);

void softmax_forward_reference(const SoftmaxProblem&, Ports, Stream);
void softmax_backward_reference(const SoftmaxProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                                          //
    void softmax_cross_entropy_forward_warp_rows(const CrossEntropyProblem&, Ports, Stream);   //
    void softmax_cross_entropy_backward_warp_rows(const CrossEntropyProblem&, Ports, Stream);  //
    bool supports_softmax_cross_entropy_warp_rows(const CrossEntropyProblem&);                 //
    void softmax_forward_warp_rows(const SoftmaxProblem&, Ports, Stream);                      //
    void softmax_backward_warp_rows(const SoftmaxProblem&, Ports, Stream);                     //
    bool supports_softmax_warp_rows(const SoftmaxProblem&);)

}  // namespace fovea
