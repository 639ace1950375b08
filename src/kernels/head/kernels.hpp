// The kernels of head, for its table.
#pragma once

#include "kernels/head/head.hpp"

namespace fovea {

void head_forward_reference(const HeadProblem&, Ports, Stream);
void head_backward_reference(const HeadProblem&, Ports, Stream);

void head_forward_composed(const HeadProblem&, Ports, Stream);
void head_backward_composed(const HeadProblem&, Ports, Stream);

bool head_forward_cudnn_supports(const HeadProblem&);
void head_forward_composed_cudnn(const HeadProblem&, Ports, Stream);
bool head_backward_cudnn_supports(const HeadProblem&);
void head_backward_composed_cudnn(const HeadProblem&, Ports, Stream);
void head_forward_composed_graph(const HeadProblem&, Ports, Stream);
void head_backward_composed_graph(const HeadProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                             //
    void head_forward_fused(const HeadProblem&, Ports, Stream);   //
    void head_backward_fused(const HeadProblem&, Ports, Stream);  //
    bool supports_head_fused(const HeadProblem&);)

}  // namespace fovea
