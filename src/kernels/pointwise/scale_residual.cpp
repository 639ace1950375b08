// scale_residual: the shape check, the ports, the cost and the kernel tables. See scale_residual.hpp.
#include "kernels/pointwise/scale_residual.hpp"

#include <fmt/format.h>

#include "kernels/pointwise/kernels.hpp"
#include "kernels/pointwise/scale_residual_kernels.hpp"

namespace fovea {

void ScaleResidualProblem::check() const {
  if (samples < 1 || rows < 1 || channels < 1) {
    fail(fmt::format("scale_residual: {} samples of {} rows of {} channels must all be at least 1", samples,
                     rows, channels));
  }
  if (!(p >= 0 && p <= 1)) fail(fmt::format("scale_residual: the probability {} must lie in [0, 1]", p));
}

std::vector<double> branch_scales(const ScaleResidualProblem& p, const std::int64_t* key) {
  std::vector<double> scales(static_cast<std::size_t>(p.samples), 1.0);
  if (key == nullptr) return scales;
  for (std::int64_t n = 0; n < p.samples; ++n) {
    const std::uint32_t word = dropout_words(key, n / 4)[static_cast<std::size_t>(n % 4)];
    scales[static_cast<std::size_t>(n)] = word >= dropout_threshold(p.p) ? dropout_scale(p.p) : 0.0;
  }
  return scales;
}

namespace {

using P = ScaleResidualProblem;

PortList forward_ports(const P& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"f", Role::input, p.x_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"key", Role::input, {2}, Dtype::i64, true},
          {"y", Role::output, p.x_shape(), p.dtype}};
}

PortList backward_ports(const P& p) {
  return {{"f", Role::input, p.x_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"key", Role::input, {2}, Dtype::i64, true},
          {"dy", Role::input, p.x_shape(), p.dtype},
          {"df", Role::output, p.x_shape(), p.dtype},
          {"dgamma", Role::output, {p.channels}, param_dtype(p.dtype)}};
}

template <auto PortsOf, int per_element>
Cost cost(const P& p) {
  return {static_cast<double>(per_element * p.x_shape().numel()), bytes_of(PortsOf(p))};
}

constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("columns", scale_residual_forward_columns, supports_scale_residual_columns),
#if FOVEA_CUDNN
    kernel<&scale_residual_forward_cudnn, &scale_residual_forward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&scale_residual_forward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&scale_residual_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", scale_residual_forward_columns, supports_scale_residual_columns),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("columns", scale_residual_backward_columns, supports_scale_residual_columns),
#if FOVEA_CUDNN
    kernel<&scale_residual_backward_cudnn, &scale_residual_backward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&scale_residual_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&scale_residual_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", scale_residual_backward_columns, supports_scale_residual_columns),
};

}  // namespace

constexpr PrimitiveOf<P> scale_residual_forward =
    primitive<P, &forward_ports, &cost<&forward_ports, 3>>("scale_residual.forward", forward_kernels);
constexpr PrimitiveOf<P> scale_residual_backward =
    primitive<P, &backward_ports, &cost<&backward_ports, 4>>("scale_residual.backward", backward_kernels);

}  // namespace fovea
