// linear: the shape check, the ports, the cost and the kernel tables. See linear.hpp.
#include "kernels/linear/linear.hpp"

#include <fmt/format.h>

#include "kernels/linear/kernels.hpp"

namespace fovea {

void LinearProblem::check() const {
  if (n < 1 || in < 1 || out < 1) {
    fail(fmt::format("linear: {} rows, {} inputs and {} outputs must all be at least 1", n, in, out));
  }
}

namespace {

PortList forward_ports(const LinearProblem& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"w", Role::input, p.w_shape(), p.dtype},
          {"b", Role::input, {p.out}, param_dtype(p.dtype), true},
          {"y", Role::output, p.y_shape(), p.dtype}};
}

PortList backward_data_ports(const LinearProblem& p) {
  return {{"dy", Role::input, p.y_shape(), p.dtype},
          {"w", Role::input, p.w_shape(), p.dtype},
          {"dx", Role::output, p.x_shape(), p.dtype}};
}

PortList backward_weights_ports(const LinearProblem& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"dy", Role::input, p.y_shape(), p.dtype},
          {"dw", Role::output, p.w_shape(), param_dtype(p.dtype)},
          {"db", Role::output, {p.out}, param_dtype(p.dtype), true}};
}

template <auto PortsOf>
Cost cost(const LinearProblem& p) {
  return {2.0 * static_cast<double>(p.n) * static_cast<double>(p.in) * static_cast<double>(p.out),
          bytes_of(PortsOf(p))};
}

using P = LinearProblem;
// oneDNN computes in fp32 only.
constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("tiled", linear_forward_tiled, supports_linear_tiled),
#if FOVEA_CUDNN
    kernel<&linear_forward_cublas, &linear_forward_cublas_supports>("cublas", Backend::cudnn),
#endif
    kernel<&linear_forward_onednn, &supports_f32<P>>("onednn", Backend::onednn),
    kernel<&linear_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("tiled", linear_forward_tiled, supports_linear_tiled),
};
constexpr Kernel backward_data_kernels[] = {
    FOVEA_CUDA_ROW("tiled", linear_backward_data_tiled, supports_linear_tiled),
#if FOVEA_CUDNN
    kernel<&linear_backward_data_cublas, &linear_backward_data_cublas_supports>("cublas", Backend::cudnn),
#endif
    kernel<&linear_backward_data_onednn, &supports_f32<P>>("onednn", Backend::onednn),
    kernel<&linear_backward_data_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("tiled", linear_backward_data_tiled, supports_linear_tiled),
};
constexpr Kernel backward_weights_kernels[] = {
    FOVEA_CUDA_ROW("tiled", linear_backward_weights_tiled, supports_linear_tiled),
#if FOVEA_CUDNN
    kernel<&linear_backward_weights_cublas, &linear_backward_weights_cublas_supports>("cublas",
                                                                                      Backend::cudnn),
#endif
    kernel<&linear_backward_weights_onednn, &supports_f32<P>>("onednn", Backend::onednn),
    kernel<&linear_backward_weights_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("tiled", linear_backward_weights_tiled, supports_linear_tiled),
};

}  // namespace

constexpr PrimitiveOf<P> linear_forward =
    primitive<P, &forward_ports, &cost<&forward_ports>>("linear.forward", forward_kernels);
constexpr PrimitiveOf<P> linear_backward_data =
    primitive<P, &backward_data_ports, &cost<&backward_data_ports>>("linear.backward_data",
                                                                    backward_data_kernels);
constexpr PrimitiveOf<P> linear_backward_weights =
    primitive<P, &backward_weights_ports, &cost<&backward_weights_ports>>("linear.backward_weights",
                                                                          backward_weights_kernels);

}  // namespace fovea
