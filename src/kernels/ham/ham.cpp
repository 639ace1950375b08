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
  return {
      {"x", Role::input, p.x_shape(), p.dtype},       {"spatial_weight", Role::input, {p.c}, p.dtype},
      {"spatial_bias", Role::input, {1}, p.dtype},    {"fc1_weight", Role::input, {p.hidden, p.c}, p.dtype},
      {"fc1_bias", Role::input, {p.hidden}, p.dtype}, {"fc2_weight", Role::input, {p.c, p.hidden}, p.dtype},
      {"fc2_bias", Role::input, {p.c}, p.dtype},      {"y", Role::output, p.x_shape(), p.dtype},
      {"s", Role::output, {p.n, p.h, p.w}, p.dtype},  {"a", Role::output, {p.n, p.c}, p.dtype},
      {"z", Role::output, {p.n, p.hidden}, p.dtype},  {"wgt", Role::output, {p.n, p.c}, p.dtype}};
}

PortList backward_ports(const HamProblem& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          {"dy", Role::input, p.x_shape(), p.dtype},
          {"spatial_weight", Role::input, {p.c}, p.dtype},
          {"fc1_weight", Role::input, {p.hidden, p.c}, p.dtype},
          {"fc2_weight", Role::input, {p.c, p.hidden}, p.dtype},
          {"s", Role::input, {p.n, p.h, p.w}, p.dtype},
          {"a", Role::input, {p.n, p.c}, p.dtype},
          {"z", Role::input, {p.n, p.hidden}, p.dtype},
          {"wgt", Role::input, {p.n, p.c}, p.dtype},
          {"dx", Role::output, p.x_shape(), p.dtype},
          {"dspatial_weight", Role::output, {p.c}, p.dtype},
          {"dspatial_bias", Role::output, {1}, p.dtype},
          {"dfc1_weight", Role::output, {p.hidden, p.c}, p.dtype},
          {"dfc1_bias", Role::output, {p.hidden}, p.dtype},
          {"dfc2_weight", Role::output, {p.c, p.hidden}, p.dtype},
          {"dfc2_bias", Role::output, {p.c}, p.dtype}};
}

template <int flops_per_element, auto PortsOf>
Cost cost(const HamProblem& p) {
  const double fc = 4.0 * static_cast<double>(p.n * p.c * p.hidden);  // two products forward, four backward
  return {flops_per_element * static_cast<double>(p.x_shape().numel()) + fc * (flops_per_element / 10),
          bytes_of(PortsOf(p))};
}

using P = HamProblem;
constexpr Kernel forward_kernels[] = {
    kernel<&ham_forward_fused, &supports_f32<P>>("fused", Backend::cpu),
    kernel<&ham_forward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&ham_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
};
constexpr Kernel backward_kernels[] = {
    kernel<&ham_backward_fused, &supports_f32<P>>("fused", Backend::cpu),
    kernel<&ham_backward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&ham_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
};

}  // namespace

constexpr PrimitiveOf<P> ham_forward =
    primitive<P, &forward_ports, &cost<10, &forward_ports>>("ham.forward", forward_kernels);
constexpr PrimitiveOf<P> ham_backward =
    primitive<P, &backward_ports, &cost<20, &backward_ports>>("ham.backward", backward_kernels);

}  // namespace fovea
