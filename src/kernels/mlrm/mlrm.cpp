// mlrm: the shape check, the ports, the cost and the kernel tables. See mlrm.hpp.
#include "kernels/mlrm/mlrm.hpp"

#include <fmt/format.h>

#include <cmath>

#include "kernels/mlrm/kernels.hpp"

namespace fovea {

void MlrmProblem::check() const {
  if (n < 1 || h < 1 || w < 1 || c < 1) {
    fail(fmt::format("mlrm: input {}x{}x{}x{} must be at least 1 in every dimension", n, h, w, c));
  }
  if (branches < 1 || branches > max_branches) {
    fail(fmt::format("mlrm: {} branches; there may be 1 to {}", branches, max_branches));
  }
  for (std::int32_t b = 0; b < branches; ++b) {
    if (dilations[static_cast<std::size_t>(b)] < 1) {
      fail(fmt::format("mlrm: dilation {} of branch {} must be at least 1",
                       dilations[static_cast<std::size_t>(b)], b));
    }
  }
  if (!(eps > 0) || !std::isfinite(eps)) fail(fmt::format("mlrm: eps {} must be a positive number", eps));
  if (!(momentum >= 0 && momentum <= 1)) {
    fail(fmt::format("mlrm: momentum {} must lie in 0..1", momentum));
  }
}

void MlrmProblem::check_training() const {
  check();
  if (rows() < 2) {
    fail(
        fmt::format("mlrm: batch statistics need more than one pixel, got {}x{}x{}; use a larger batch or "
                    "inference mode",
                    n, h, w));
  }
}

namespace {

using P = MlrmProblem;

// A port of each branch: its name per branch, its role and shape.
struct BranchPort {
  std::array<const char*, P::max_branches> names;
  Role role;
  bool optional = false;
};
constexpr BranchPort w_in{{"w0", "w1", "w2", "w3"}, Role::input};
constexpr BranchPort gamma_in{{"gamma0", "gamma1", "gamma2", "gamma3"}, Role::input};
constexpr BranchPort beta_in{{"beta0", "beta1", "beta2", "beta3"}, Role::input};
constexpr std::array<const char*, P::max_branches> running_mean{"running_mean0", "running_mean1",
                                                                "running_mean2", "running_mean3"};
constexpr std::array<const char*, P::max_branches> running_var{"running_var0", "running_var1", "running_var2",
                                                               "running_var3"};
constexpr std::array<const char*, P::max_branches> z{"z0", "z1", "z2", "z3"};
constexpr std::array<const char*, P::max_branches> mean{"mean0", "mean1", "mean2", "mean3"};
constexpr std::array<const char*, P::max_branches> invstd{"invstd0", "invstd1", "invstd2", "invstd3"};
constexpr BranchPort dw_out{{"dw0", "dw1", "dw2", "dw3"}, Role::output, true};
constexpr BranchPort dgamma_out{{"dgamma0", "dgamma1", "dgamma2", "dgamma3"}, Role::output};
constexpr BranchPort dbeta_out{{"dbeta0", "dbeta1", "dbeta2", "dbeta3"}, Role::output};

enum class Extent { filter, filter_gradient, channel, image };

void add_port(PortList& list, const P& p, const BranchPort& port, Extent extent, std::size_t branch) {
  const bool is_filter = extent == Extent::filter || extent == Extent::filter_gradient;
  const Shape shape = is_filter ? p.w_shape() : extent == Extent::channel ? Shape{p.c} : p.x_shape();
  const bool is_large = extent == Extent::filter || extent == Extent::image;
  list.add({port.names[branch], port.role, shape, is_large ? p.dtype : param_dtype(p.dtype), port.optional});
}

std::size_t branches_of(const P& p) { return static_cast<std::size_t>(p.branches); }

PortList forward_ports(const P& p, Role running) {
  PortList list{{"x", Role::input, p.x_shape(), p.dtype}};
  for (std::size_t b = 0; b < branches_of(p); ++b) {
    add_port(list, p, w_in, Extent::filter, b);
    add_port(list, p, gamma_in, Extent::channel, b);
    add_port(list, p, beta_in, Extent::channel, b);
    add_port(list, p, {running_mean, running}, Extent::channel, b);
    add_port(list, p, {running_var, running}, Extent::channel, b);
  }
  list.add({"y", Role::output, p.x_shape(), p.dtype});
  return list;
}

PortList forward_training_ports(const P& p) {
  PortList list = forward_ports(p, Role::update);
  for (std::size_t b = 0; b < branches_of(p); ++b) {
    add_port(list, p, {z, Role::output}, Extent::image, b);
    add_port(list, p, {mean, Role::output}, Extent::channel, b);
    add_port(list, p, {invstd, Role::output}, Extent::channel, b);
  }
  return list;
}

PortList forward_inference_ports(const P& p) { return forward_ports(p, Role::input); }

template <bool training>
PortList backward_ports(const P& p) {
  PortList list{{"x", Role::input, p.x_shape(), p.dtype}, {"dy", Role::input, p.x_shape(), p.dtype}};
  for (std::size_t b = 0; b < branches_of(p); ++b) {
    add_port(list, p, w_in, Extent::filter, b);
    add_port(list, p, gamma_in, Extent::channel, b);
    add_port(list, p, beta_in, Extent::channel, b);
    if (training) add_port(list, p, {z, Role::input}, Extent::image, b);
    add_port(list, p, {training ? mean : running_mean, Role::input}, Extent::channel, b);
    add_port(list, p, {training ? invstd : running_var, Role::input}, Extent::channel, b);
  }
  list.add({"dx", Role::output, p.x_shape(), p.dtype, true});
  for (std::size_t b = 0; b < branches_of(p); ++b) {
    add_port(list, p, dw_out, Extent::filter_gradient, b);
    add_port(list, p, dgamma_out, Extent::channel, b);
    add_port(list, p, dbeta_out, Extent::channel, b);
  }
  return list;
}

// `convolutions` per branch, nominal: taps in the padding count, as in every published figure.
template <int convolutions, auto PortsOf>
Cost cost(const P& p) {
  const double one = 2.0 * static_cast<double>(p.rows() * p.w_shape().numel());
  return {convolutions * static_cast<double>(p.branches) * one, bytes_of(PortsOf(p))};
}

constexpr Kernel forward_training_kernels[] = {
    FOVEA_CUDA_ROW("grouped", mlrm_forward_training_grouped, supports_mlrm_grouped),
#if FOVEA_CUDNN
    kernel<&mlrm_forward_training_composed_cudnn, &mlrm_forward_training_cudnn_supports>("composed",
                                                                                         Backend::cudnn),
    kernel<&mlrm_forward_training_composed_graph, &mlrm_forward_training_cudnn_supports>("composed_graph",
                                                                                         Backend::cudnn),
    kernel<&mlrm_forward_training_statistics_cudnn, &mlrm_forward_training_statistics_supports>(
        "statistics", Backend::cudnn),
#endif
    kernel<&mlrm_forward_training_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&mlrm_forward_training_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("grouped", mlrm_forward_training_grouped, supports_mlrm_grouped),
};
constexpr Kernel forward_inference_kernels[] = {
    FOVEA_CUDA_ROW("fused", mlrm_forward_inference_fused, supports_mlrm_grouped),
#if FOVEA_CUDNN
    kernel<&mlrm_forward_inference_composed_cudnn, &mlrm_forward_inference_cudnn_supports>("composed",
                                                                                           Backend::cudnn),
    kernel<&mlrm_forward_inference_composed_graph, &mlrm_forward_inference_cudnn_supports>("composed_graph",
                                                                                           Backend::cudnn),
#endif
    kernel<&mlrm_forward_inference_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&mlrm_forward_inference_folded, &supports_f32_f64<P>>("folded", Backend::cpu),
    kernel<&mlrm_forward_inference_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("fused", mlrm_forward_inference_fused, supports_mlrm_grouped),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("grouped", mlrm_backward_grouped, supports_mlrm_grouped),
#if FOVEA_CUDNN
    kernel<&mlrm_backward_composed_cudnn, &mlrm_backward_cudnn_supports>("composed", Backend::cudnn),
    kernel<&mlrm_backward_composed_graph, &mlrm_backward_cudnn_supports>("composed_graph", Backend::cudnn),
#endif
    kernel<&mlrm_backward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&mlrm_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("grouped", mlrm_backward_grouped, supports_mlrm_grouped),
};
constexpr Kernel backward_inference_kernels[] = {
    FOVEA_CUDA_ROW("grouped", mlrm_backward_inference_grouped, supports_mlrm_grouped),
#if FOVEA_CUDNN
    kernel<&mlrm_backward_inference_composed_cudnn, &mlrm_backward_inference_cudnn_supports>("composed",
                                                                                             Backend::cudnn),
    kernel<&mlrm_backward_inference_composed_graph, &mlrm_backward_inference_cudnn_supports>("composed_graph",
                                                                                             Backend::cudnn),
#endif
    kernel<&mlrm_backward_inference_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&mlrm_backward_inference_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("grouped", mlrm_backward_inference_grouped, supports_mlrm_grouped),
};

// The primitives through batch statistics also refuse a single pixel.
template <auto PortsOf, int convolutions>
constexpr PrimitiveOf<P> through_statistics(const char* name, std::span<const Kernel> kernels) {
  PrimitiveOf<P> made = primitive<P, PortsOf, &cost<convolutions, PortsOf>>(name, kernels);
  made.check = [](const void* problem) { static_cast<const P*>(problem)->check_training(); };
  return made;
}

}  // namespace

constexpr PrimitiveOf<P> mlrm_forward_training =
    through_statistics<&forward_training_ports, 1>("mlrm.forward_training", forward_training_kernels);
constexpr PrimitiveOf<P> mlrm_forward_inference =
    primitive<P, &forward_inference_ports, &cost<1, &forward_inference_ports>>("mlrm.forward_inference",
                                                                               forward_inference_kernels);
constexpr PrimitiveOf<P> mlrm_backward =
    through_statistics<&backward_ports<true>, 2>("mlrm.backward", backward_kernels);
constexpr PrimitiveOf<P> mlrm_backward_inference =
    primitive<P, &backward_ports<false>, &cost<3, &backward_ports<false>>>("mlrm.backward_inference",
                                                                           backward_inference_kernels);

}  // namespace fovea
