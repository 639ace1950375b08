// The kernels of conv2d, for its table.
#pragma once

#include "kernels/conv2d/conv2d.hpp"

namespace fovea {

void conv2d_forward_reference(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_data_reference(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_weights_reference(const Conv2dProblem&, Ports, Stream);

bool conv2d_winograd_supports(const Conv2dProblem&);
void conv2d_forward_winograd(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_data_winograd(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_weights_winograd(const Conv2dProblem&, Ports, Stream);

bool conv2d_depthwise_supports(const Conv2dProblem&);
void conv2d_forward_depthwise(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_data_depthwise(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_weights_depthwise(const Conv2dProblem&, Ports, Stream);

bool conv2d_onednn_supports(const Conv2dProblem&);
void conv2d_forward_onednn(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_data_onednn(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_weights_onednn(const Conv2dProblem&, Ports, Stream);

bool conv2d_forward_cudnn_supports(const Conv2dProblem&);
bool conv2d_backward_data_cudnn_supports(const Conv2dProblem&);
bool conv2d_backward_weights_cudnn_supports(const Conv2dProblem&);
void conv2d_forward_cudnn(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_data_cudnn(const Conv2dProblem&, Ports, Stream);
void conv2d_backward_weights_cudnn(const Conv2dProblem&, Ports, Stream);

FOVEA_IN_BOTH_WORLDS(                                                              //
    bool supports_conv2d_depthwise(const Conv2dProblem&);                          //
    void conv2d_forward_depthwise(const Conv2dProblem&, Ports, Stream);            //
    void conv2d_backward_data_depthwise(const Conv2dProblem&, Ports, Stream);      //
    void conv2d_backward_weights_depthwise(const Conv2dProblem&, Ports, Stream);   //
    bool supports_conv2d_implicit_gemm(const Conv2dProblem&);                      //
    void conv2d_forward_implicit_gemm(const Conv2dProblem&, Ports, Stream);        //
    void conv2d_backward_data_implicit_gemm(const Conv2dProblem&, Ports, Stream);  //
    void conv2d_backward_weights_implicit_gemm(const Conv2dProblem&, Ports, Stream);)

}  // namespace fovea
