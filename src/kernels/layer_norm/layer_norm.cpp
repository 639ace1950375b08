// layer_norm: the shape check, the ports, the cost and the kernel tables. See layer_norm.hpp.
#include "kernels/layer_norm/layer_norm.hpp"

#include <fmt/format.h>

#include <cmath>

#include "kernels/layer_norm/kernels.hpp"

namespace fovea {

void LayerNormProblem::check() const {
  if (rows < 1 || channels < 1) {
    fail(fmt::format("layer_norm: {} rows of {} channels must both be at least 1", rows, channels));
  }
  if (!(eps > 0) || !std::isfinite(eps)) {
    fail(fmt::format("layer_norm: eps {} must be a positive number", eps));
  }
}

namespace {

using P = LayerNormProblem;

PortList forward_ports(const P& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"beta", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"y", Role::output, p.x_shape(), p.dtype},
          {"mean", Role::output, {p.rows}, param_dtype(p.dtype), true},
          {"rstd", Role::output, {p.rows}, param_dtype(p.dtype), true}};
}

PortList backward_ports(const P& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"dy", Role::input, p.x_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"mean", Role::input, {p.rows}, param_dtype(p.dtype)},
          {"rstd", Role::input, {p.rows}, param_dtype(p.dtype)},
          {"dx", Role::output, p.x_shape(), p.dtype},
          {"dgamma", Role::output, {p.channels}, param_dtype(p.dtype)},
          {"dbeta", Role::output, {p.channels}, param_dtype(p.dtype)}};
}

// Per element: the two moments (4), then centre, scale and shift (4); backward h (2), the sums of a row (4) and of the
// columns (3), and dx (4).
template <auto PortsOf, int per_element>
Cost cost(const P& p) {
  return {static_cast<double>(per_element * p.rows * p.channels), bytes_of(PortsOf(p))};
}

constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("warp_rows", layer_norm_forward_warp_rows, supports_layer_norm_warp_rows),
#if FOVEA_CUDNN
    kernel<&layer_norm_forward_cudnn, &layer_norm_forward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&layer_norm_forward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&layer_norm_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("warp_rows", layer_norm_forward_warp_rows, supports_layer_norm_warp_rows),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("warp_rows", layer_norm_backward_warp_rows, supports_layer_norm_warp_rows),
#if FOVEA_CUDNN
    kernel<&layer_norm_backward_cudnn, &layer_norm_backward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&layer_norm_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&layer_norm_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("warp_rows", layer_norm_backward_warp_rows, supports_layer_norm_warp_rows),
};

}  // namespace

constexpr PrimitiveOf<P> layer_norm_forward =
    primitive<P, &forward_ports, &cost<&forward_ports, 8>>("layer_norm.forward", forward_kernels);
constexpr PrimitiveOf<P> layer_norm_backward =
    primitive<P, &backward_ports, &cost<&backward_ports, 13>>("layer_norm.backward", backward_kernels);

}  // namespace fovea
