// head: the shape check, the ports, the cost and the kernel tables. See head.hpp.
#include "kernels/head/head.hpp"

#include <fmt/format.h>

#include "kernels/head/kernels.hpp"

namespace fovea {

void HeadProblem::check() const {
  if (n < 1 || c < 1 || m_h < 1 || m_w < 1 || r_h < 1 || r_w < 1) {
    fail(fmt::format("head: inputs {}x{}x{}x{} and {}x{}x{}x{} must be at least 1 in every dimension", n, m_h,
                     m_w, c, n, r_h, r_w, c));
  }
  if (hidden < 1 || classes < 1) {
    fail(fmt::format("head: {} hidden units and {} classes must both be at least 1", hidden, classes));
  }
}

namespace {

using P = HeadProblem;

PortList forward_ports(const P& p) {
  return {{"m", Role::input, p.m_shape(), p.dtype},
          {"r", Role::input, p.r_shape(), p.dtype},
          {"shortcut_weight", Role::input, {p.c, p.c}, p.dtype},
          {"shortcut_bias", Role::input, {p.c}, p.dtype},
          {"fc1_weight", Role::input, {p.hidden, p.c}, p.dtype},
          {"fc1_bias", Role::input, {p.hidden}, p.dtype},
          {"fc2_weight", Role::input, {p.classes, p.hidden}, p.dtype},
          {"fc2_bias", Role::input, {p.classes}, p.dtype},
          {"logits", Role::output, {p.n, p.classes}, p.dtype},
          {"pooled", Role::output, {p.n, p.c}, p.dtype},
          {"f", Role::output, {p.n, p.c}, p.dtype},
          {"hid", Role::output, {p.n, p.hidden}, p.dtype}};
}

PortList backward_ports(const P& p) {
  return {{"dlogits", Role::input, {p.n, p.classes}, p.dtype},
          {"shortcut_weight", Role::input, {p.c, p.c}, p.dtype},
          {"fc1_weight", Role::input, {p.hidden, p.c}, p.dtype},
          {"fc2_weight", Role::input, {p.classes, p.hidden}, p.dtype},
          {"pooled", Role::input, {p.n, p.c}, p.dtype},
          {"f", Role::input, {p.n, p.c}, p.dtype},
          {"hid", Role::input, {p.n, p.hidden}, p.dtype},
          {"dm", Role::output, p.m_shape(), p.dtype, true},
          {"dr", Role::output, p.r_shape(), p.dtype, true},
          {"dshortcut_weight", Role::output, {p.c, p.c}, p.dtype},
          {"dshortcut_bias", Role::output, {p.c}, p.dtype},
          {"dfc1_weight", Role::output, {p.hidden, p.c}, p.dtype},
          {"dfc1_bias", Role::output, {p.hidden}, p.dtype},
          {"dfc2_weight", Role::output, {p.classes, p.hidden}, p.dtype},
          {"dfc2_bias", Role::output, {p.classes}, p.dtype}};
}

double layers(const P& p) {  // one product with each weight
  return 2.0 * static_cast<double>(p.n * (p.c * p.c + p.hidden * p.c + p.classes * p.hidden));
}
Cost forward_cost(const P& p) {
  return {layers(p) + static_cast<double>(p.m_shape().numel() + p.r_shape().numel()),
          bytes_of(forward_ports(p))};
}
Cost backward_cost(const P& p) { return {2 * layers(p), bytes_of(backward_ports(p))}; }

constexpr Kernel forward_kernels[] = {
    kernel<&head_forward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&head_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
};
constexpr Kernel backward_kernels[] = {
    kernel<&head_backward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&head_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
};

}  // namespace

constexpr PrimitiveOf<P> head_forward =
    primitive<P, &forward_ports, &forward_cost>("head.forward", forward_kernels);
constexpr PrimitiveOf<P> head_backward =
    primitive<P, &backward_ports, &backward_cost>("head.backward", backward_kernels);

}  // namespace fovea
