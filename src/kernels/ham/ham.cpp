// ham: the shape check, the ports, the cost and the kernel tables. See ham.hpp.
#include "kernels/ham/ham.hpp"

#include <fmt/format.h>

#include "kernels/ham/kernels.hpp"

namespace fovea {

void HamProblem::check() const {
  if (n < 1 || h < 1 || w < 1 || c < 1 || hidden < 1) {
    fail(
        fmt::format("ham: input {}x{}x{}x{} and {} hidden units must all be at least 1", n, h, w, c, hidden));
  }
}

namespace {

PortList forward_ports(const HamProblem& p) {
  const Dtype small = p.param_dtype();
  return {{"x", Role::input, p.x_shape(), p.dtype},     {"spatial_weight", Role::input, {p.c}, small},
          {"spatial_bias", Role::input, {1}, small},    {"fc1_weight", Role::input, {p.hidden, p.c}, small},
          {"fc1_bias", Role::input, {p.hidden}, small}, {"fc2_weight", Role::input, {p.c, p.hidden}, small},
          {"fc2_bias", Role::input, {p.c}, small},      {"y", Role::output, p.x_shape(), p.dtype},
          {"s", Role::output, {p.n, p.h, p.w}, small},  {"a", Role::output, {p.n, p.c}, small},
          {"z", Role::output, {p.n, p.hidden}, small},  {"wgt", Role::output, {p.n, p.c}, small}};
}

PortList backward_ports(const HamProblem& p) {
  const Dtype small = p.param_dtype();
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"dy", Role::input, p.x_shape(), p.dtype},
          {"spatial_weight", Role::input, {p.c}, small},
          {"fc1_weight", Role::input, {p.hidden, p.c}, small},
          {"fc2_weight", Role::input, {p.c, p.hidden}, small},
          {"s", Role::input, {p.n, p.h, p.w}, small},
          {"a", Role::input, {p.n, p.c}, small},
          {"z", Role::input, {p.n, p.hidden}, small},
          {"wgt", Role::input, {p.n, p.c}, small},
          {"dx", Role::output, p.x_shape(), p.dtype},
          {"dspatial_weight", Role::output, {p.c}, small},
          {"dspatial_bias", Role::output, {1}, small},
          {"dfc1_weight", Role::output, {p.hidden, p.c}, small},
          {"dfc1_bias", Role::output, {p.hidden}, small},
          {"dfc2_weight", Role::output, {p.c, p.hidden}, small},
          {"dfc2_bias", Role::output, {p.c}, small}};
}

template <int flops_per_element, auto PortsOf>
Cost cost(const HamProblem& p) {
  const double fc = 4.0 * static_cast<double>(p.n * p.c * p.hidden);  // two products forward, four backward
  return {
      flops_per_element * static_cast<double>(p.x_shape().numel()) + fc * (flops_per_element / 10),
      bytes_of(PortsOf(p)),
  };
}

using P = HamProblem;
constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("cluster", ham_forward_cluster, supports_ham_forward_cluster),
    FOVEA_CUDA_ROW("two_pass", ham_forward_two_pass, supports_ham_two_pass),
#if FOVEA_CUDNN
    kernel<&ham_forward_composed_cudnn, &ham_forward_cudnn_supports>("composed", Backend::cudnn),
    kernel<&ham_forward_composed_graph, &ham_forward_cudnn_supports>("composed_graph", Backend::cudnn),
#endif
    kernel<&ham_forward_fused, &supports_f32<P>>("fused", Backend::cpu),
    kernel<&ham_forward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&ham_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("cluster", ham_forward_cluster, supports_ham_forward_cluster),
    FOVEA_SIMT_ROW("two_pass", ham_forward_two_pass, supports_ham_two_pass),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("cluster", ham_backward_cluster, supports_ham_backward_cluster),
    FOVEA_CUDA_ROW("two_pass", ham_backward_two_pass, supports_ham_two_pass),
#if FOVEA_CUDNN
    kernel<&ham_backward_composed_cudnn, &ham_backward_cudnn_supports>("composed", Backend::cudnn),
    kernel<&ham_backward_composed_graph, &ham_backward_cudnn_supports>("composed_graph", Backend::cudnn),
#endif
    kernel<&ham_backward_fused, &supports_f32<P>>("fused", Backend::cpu),
    kernel<&ham_backward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&ham_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("cluster", ham_backward_cluster, supports_ham_backward_cluster),
    FOVEA_SIMT_ROW("two_pass", ham_backward_two_pass, supports_ham_two_pass),
};

}  // namespace

constexpr PrimitiveOf<P> ham_forward =
    primitive<P, &forward_ports, &cost<10, &forward_ports>>("ham.forward", forward_kernels);
constexpr PrimitiveOf<P> ham_backward =
    primitive<P, &backward_ports, &cost<20, &backward_ports>>("ham.backward", backward_kernels);

}  // namespace fovea
