// batch_norm: the shape check, the ports, the cost and the kernel tables. See norm.hpp.
#include "kernels/norm/norm.hpp"

#include <fmt/format.h>

#include <cmath>

#include "kernels/norm/kernels.hpp"

namespace fovea {

void BatchNormProblem::check() const {
  if (rows < 1 || channels < 1) {
    fail(fmt::format("batch_norm: {} rows of {} channels must both be at least 1", rows, channels));
  }
  if (!(eps > 0) || !std::isfinite(eps)) {
    fail(fmt::format("batch_norm: eps {} must be a positive number", eps));
  }
  if (!(momentum >= 0 && momentum <= 1)) {
    fail(fmt::format("batch_norm: momentum {} must lie in 0..1", momentum));
  }
  check_slice("batch_norm", x_slice, channels);
  check_slice("batch_norm", y_slice, channels);
}

void BatchNormProblem::check_training() const {
  check();
  if (rows < 2) {
    fail(fmt::format(
        "batch_norm: expected more than 1 value per channel in training, got 1 row of {} channels; "
        "use a larger batch or inference mode",
        channels));
  }
}

namespace {

using P = BatchNormProblem;

Role role_of_y(const P& p) { return p.y_slice.is_whole() ? Role::output : Role::update; }
Role role_of_dx(const P& p) {
  return p.x_slice.is_whole() && p.accumulate == 0 ? Role::output : Role::update;
}

PortList forward_training_ports(const P& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"beta", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"running_mean", Role::update, {p.channels}, param_dtype(p.dtype)},
          {"running_var", Role::update, {p.channels}, param_dtype(p.dtype)},
          {"y", role_of_y(p), p.y_shape(), p.dtype},
          {"mean", Role::output, {p.channels}, param_dtype(p.dtype)},
          {"invstd", Role::output, {p.channels}, param_dtype(p.dtype)}};
}

PortList forward_inference_ports(const P& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"beta", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"running_mean", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"running_var", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"y", role_of_y(p), p.y_shape(), p.dtype}};
}

PortList backward_ports_of(const P& p, const char* centre, const char* spread) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"dy", Role::input, p.y_shape(), p.dtype},
          {"gamma", Role::input, {p.channels}, param_dtype(p.dtype)},
          {"beta", Role::input, {p.channels}, param_dtype(p.dtype)},
          {centre, Role::input, {p.channels}, param_dtype(p.dtype)},
          {spread, Role::input, {p.channels}, param_dtype(p.dtype)},
          {"dx", role_of_dx(p), p.x_shape(), p.dtype},
          {"dgamma", Role::output, {p.channels}, param_dtype(p.dtype)},
          {"dbeta", Role::output, {p.channels}, param_dtype(p.dtype)}};
}
PortList backward_ports(const P& p) { return backward_ports_of(p, "mean", "invstd"); }
PortList backward_inference_ports(const P& p) { return backward_ports_of(p, "running_mean", "running_var"); }

// Per element: centre, scale and shift (3), the two moments (4) in training; backward the two sums (5) and dx
// (5, or 1 where statistics are constants); one comparison more with ReLU. Of images that hold x or y, x and y alone
// are moved; dx that is added to, twice.
template <auto PortsOf, int per_element>
Cost cost(const P& p) {
  P whole = p;
  whole.x_slice = whole.y_slice = {};
  whole.accumulate = 0;
  const double added_to = p.accumulate == 0 ? 0 : static_cast<double>(p.rows * p.channels * size_of(p.dtype));
  return {static_cast<double>((per_element + (p.relu ? 1 : 0)) * p.rows * p.channels),
          bytes_of(PortsOf(whole)) + added_to};
}

// The primitives through batch statistics also refuse a single row.
template <auto PortsOf, int per_element>
constexpr PrimitiveOf<P> through_statistics(const char* name, std::span<const Kernel> kernels) {
  PrimitiveOf<P> made = primitive<P, PortsOf, &cost<PortsOf, per_element>>(name, kernels);
  made.check = [](const void* problem) { static_cast<const P*>(problem)->check_training(); };
  return made;
}

// Own kernels first: as fast as oneDNN's forward and faster backward, where they also recompute the ReLU's
// mask, and alone in statistics that neither lose digits over many rows nor depend on the number of threads.
constexpr Kernel forward_training_kernels[] = {
    FOVEA_CUDA_ROW("columns", batch_norm_forward_training_columns, supports_batch_norm_columns),
#if FOVEA_CUDNN
    kernel<&batch_norm_forward_training_cudnn, &batch_norm_forward_training_cudnn_supports>("cudnn",
                                                                                            Backend::cudnn),
#endif
    kernel<&batch_norm_forward_training_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&batch_norm_forward_training_onednn, &batch_norm_forward_onednn_supports>("onednn",
                                                                                     Backend::onednn),
    kernel<&batch_norm_forward_training_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", batch_norm_forward_training_columns, supports_batch_norm_columns),
};
constexpr Kernel forward_inference_kernels[] = {
    FOVEA_CUDA_ROW("columns", batch_norm_forward_inference_columns, supports_batch_norm_columns),
#if FOVEA_CUDNN
    kernel<&batch_norm_forward_inference_cudnn, &batch_norm_forward_inference_cudnn_supports>("cudnn",
                                                                                              Backend::cudnn),
#endif
    kernel<&batch_norm_forward_inference_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&batch_norm_forward_inference_onednn, &batch_norm_forward_onednn_supports>("onednn",
                                                                                      Backend::onednn),
    kernel<&batch_norm_forward_inference_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", batch_norm_forward_inference_columns, supports_batch_norm_columns),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("columns", batch_norm_backward_columns, supports_batch_norm_columns),
#if FOVEA_CUDNN
    kernel<&batch_norm_backward_cudnn, &batch_norm_backward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&batch_norm_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&batch_norm_backward_onednn, &batch_norm_backward_onednn_supports>("onednn", Backend::onednn),
    kernel<&batch_norm_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", batch_norm_backward_columns, supports_batch_norm_columns),
};
constexpr Kernel backward_inference_kernels[] = {
    FOVEA_CUDA_ROW("columns", batch_norm_backward_inference_columns, supports_batch_norm_columns),
#if FOVEA_CUDNN
    kernel<&batch_norm_backward_inference_cudnn, &batch_norm_backward_inference_cudnn_supports>(
        "cudnn", Backend::cudnn),
#endif
    kernel<&batch_norm_backward_inference_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&batch_norm_backward_inference_onednn, &batch_norm_backward_onednn_supports>("onednn",
                                                                                        Backend::onednn),
    kernel<&batch_norm_backward_inference_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", batch_norm_backward_inference_columns, supports_batch_norm_columns),
};

}  // namespace

constexpr PrimitiveOf<P> batch_norm_forward_training =
    through_statistics<&forward_training_ports, 7>("batch_norm.forward_training", forward_training_kernels);
constexpr PrimitiveOf<P> batch_norm_forward_inference =
    primitive<P, &forward_inference_ports, &cost<&forward_inference_ports, 3>>("batch_norm.forward_inference",
                                                                               forward_inference_kernels);
constexpr PrimitiveOf<P> batch_norm_backward =
    through_statistics<&backward_ports, 10>("batch_norm.backward", backward_kernels);
constexpr PrimitiveOf<P> batch_norm_backward_inference =
    primitive<P, &backward_inference_ports, &cost<&backward_inference_ports, 6>>(
        "batch_norm.backward_inference", backward_inference_kernels);

}  // namespace fovea
