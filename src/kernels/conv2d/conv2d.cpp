// conv2d: the shape check, the ports, the cost and the kernel tables. See conv2d.hpp.
#include "kernels/conv2d/conv2d.hpp"

#include <fmt/format.h>

#include "kernels/conv2d/kernels.hpp"

namespace fovea {

void Conv2dProblem::check() const {
  if (n < 1 || h < 1 || w < 1 || c < 1 || k < 1 || r < 1 || s < 1) {
    fail(fmt::format("conv2d: input {}x{}x{}x{} and {} filters of {}x{} must all be at least 1", n, h, w, c,
                     k, r, s));
  }
  if (stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1 || pad_h < 0 || pad_w < 0) {
    fail(fmt::format("conv2d: stride {}x{} and dilation {}x{} must be at least 1, padding {}x{} at least 0",
                     stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w));
  }
  if (groups < 1 || c % groups != 0 || k % groups != 0) {
    fail(fmt::format("conv2d: {} groups do not divide {} input and {} output channels", groups, c, k));
  }
  if (h + 2 * pad_h < dilation_h * (r - 1) + 1 || w + 2 * pad_w < dilation_w * (s - 1) + 1) {
    fail(fmt::format(
        "conv2d: a {}x{} filter with dilation {}x{} is larger than the {}x{} input with padding {}x{}", r, s,
        dilation_h, dilation_w, h, w, pad_h, pad_w));
  }
  check_slice("conv2d", y_slice, k);
}

namespace {

using P = Conv2dProblem;

PortList forward_ports(const P& p) {
  return {
      {"x", Role::input, p.x_shape(), p.dtype},
      {"w", Role::input, p.w_shape(), p.dtype},
      {"b", Role::input, {p.k}, param_dtype(p.dtype), true},
      {"y", p.y_slice.is_whole() ? Role::output : Role::update, p.y_slice.shape_of(p.y_shape()), p.dtype}};
}

// What a problem moves: of an image that holds y, y alone.
PortList forward_traffic(P p) {
  p.y_slice = {};
  return forward_ports(p);
}

PortList backward_data_ports(const Conv2dProblem& p) {
  return {{"dy", Role::input, p.y_shape(), p.dtype},
          {"w", Role::input, p.w_shape(), p.dtype},
          {"dx", Role::output, p.x_shape(), p.dtype}};
}

PortList backward_weights_ports(const Conv2dProblem& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"dy", Role::input, p.y_shape(), p.dtype},
          {"dw", Role::output, p.w_shape(), param_dtype(p.dtype)},
          {"db", Role::output, {p.k}, param_dtype(p.dtype), true}};
}

// Nominal: taps in the padding count, as in every published figure.
template <auto PortsOf>
Cost cost(const Conv2dProblem& p) {
  return {2.0 * static_cast<double>(p.y_shape().numel() * p.w_shape().numel() / p.k), bytes_of(PortsOf(p))};
}

constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("depthwise", conv2d_forward_depthwise, supports_conv2d_depthwise),
    FOVEA_CUDA_ROW("implicit_gemm", conv2d_forward_implicit_gemm, supports_conv2d_implicit_gemm),
#if FOVEA_CUDNN
    kernel<&conv2d_forward_cudnn, &conv2d_forward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&conv2d_forward_depthwise, &conv2d_depthwise_supports>("depthwise", Backend::cpu),
    kernel<&conv2d_forward_winograd, &conv2d_winograd_supports>("winograd", Backend::cpu),
    kernel<&conv2d_forward_onednn, &conv2d_onednn_supports>("onednn", Backend::onednn),
    kernel<&conv2d_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("depthwise", conv2d_forward_depthwise, supports_conv2d_depthwise),
    FOVEA_SIMT_ROW("implicit_gemm", conv2d_forward_implicit_gemm, supports_conv2d_implicit_gemm),
};
constexpr Kernel backward_data_kernels[] = {
    FOVEA_CUDA_ROW("depthwise", conv2d_backward_data_depthwise, supports_conv2d_depthwise),
    FOVEA_CUDA_ROW("implicit_gemm", conv2d_backward_data_implicit_gemm, supports_conv2d_implicit_gemm),
#if FOVEA_CUDNN
    kernel<&conv2d_backward_data_cudnn, &conv2d_backward_data_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&conv2d_backward_data_depthwise, &conv2d_depthwise_supports>("depthwise", Backend::cpu),
    kernel<&conv2d_backward_data_winograd, &conv2d_winograd_supports>("winograd", Backend::cpu),
    kernel<&conv2d_backward_data_onednn, &conv2d_onednn_supports>("onednn", Backend::onednn),
    kernel<&conv2d_backward_data_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("depthwise", conv2d_backward_data_depthwise, supports_conv2d_depthwise),
    FOVEA_SIMT_ROW("implicit_gemm", conv2d_backward_data_implicit_gemm, supports_conv2d_implicit_gemm),
};
constexpr Kernel backward_weights_kernels[] = {
    FOVEA_CUDA_ROW("depthwise", conv2d_backward_weights_depthwise, supports_conv2d_depthwise),
    FOVEA_CUDA_ROW("implicit_gemm", conv2d_backward_weights_implicit_gemm, supports_conv2d_implicit_gemm),
#if FOVEA_CUDNN
    kernel<&conv2d_backward_weights_cudnn, &conv2d_backward_weights_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&conv2d_backward_weights_depthwise, &conv2d_depthwise_supports>("depthwise", Backend::cpu),
    kernel<&conv2d_backward_weights_winograd, &conv2d_winograd_supports>("winograd", Backend::cpu),
    kernel<&conv2d_backward_weights_onednn, &conv2d_onednn_supports>("onednn", Backend::onednn),
    kernel<&conv2d_backward_weights_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("depthwise", conv2d_backward_weights_depthwise, supports_conv2d_depthwise),
    FOVEA_SIMT_ROW("implicit_gemm", conv2d_backward_weights_implicit_gemm, supports_conv2d_implicit_gemm),
};

}  // namespace

constexpr PrimitiveOf<P> conv2d_forward =
    primitive<P, &forward_ports, &cost<&forward_traffic>>("conv2d.forward", forward_kernels);
constexpr PrimitiveOf<P> conv2d_backward_data =
    primitive<P, &backward_data_ports, &cost<&backward_data_ports>>("conv2d.backward_data",
                                                                    backward_data_kernels);
constexpr PrimitiveOf<P> conv2d_backward_weights =
    primitive<P, &backward_weights_ports, &cost<&backward_weights_ports>>("conv2d.backward_weights",
                                                                          backward_weights_kernels);

}  // namespace fovea
