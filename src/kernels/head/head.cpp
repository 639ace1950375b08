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
  const Dtype small = param_dtype(p.dtype);
  return {{"m", Role::input, p.m_shape(), p.dtype},
          {"r", Role::input, p.r_shape(), p.dtype},
          {"shortcut_weight", Role::input, {p.c, p.c}, small},
          {"shortcut_bias", Role::input, {p.c}, small},
          {"fc1_weight", Role::input, {p.hidden, p.c}, small},
          {"fc1_bias", Role::input, {p.hidden}, small},
          {"fc2_weight", Role::input, {p.classes, p.hidden}, small},
          {"fc2_bias", Role::input, {p.classes}, small},
          {"logits", Role::output, {p.n, p.classes}, small},
          {"pooled", Role::output, {p.n, p.c}, small},
          {"f", Role::output, {p.n, p.c}, small},
          {"hid", Role::output, {p.n, p.hidden}, small}};
}

PortList backward_ports(const P& p) {
  const Dtype small = param_dtype(p.dtype);
  return {{"dlogits", Role::input, {p.n, p.classes}, small},
          {"shortcut_weight", Role::input, {p.c, p.c}, small},
          {"fc1_weight", Role::input, {p.hidden, p.c}, small},
          {"fc2_weight", Role::input, {p.classes, p.hidden}, small},
          {"pooled", Role::input, {p.n, p.c}, small},
          {"f", Role::input, {p.n, p.c}, small},
          {"hid", Role::input, {p.n, p.hidden}, small},
          {"dm", Role::output, p.m_shape(), p.dtype, true},
          {"dr", Role::output, p.r_shape(), p.dtype, true},
          {"dshortcut_weight", Role::output, {p.c, p.c}, small},
          {"dshortcut_bias", Role::output, {p.c}, small},
          {"dfc1_weight", Role::output, {p.hidden, p.c}, small},
          {"dfc1_bias", Role::output, {p.hidden}, small},
          {"dfc2_weight", Role::output, {p.classes, p.hidden}, small},
          {"dfc2_bias", Role::output, {p.classes}, small}};
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
    FOVEA_CUDA_ROW("fused", head_forward_fused, supports_head_fused),
#if FOVEA_CUDNN
    kernel<&head_forward_composed_cudnn, &head_forward_cudnn_supports>("composed", Backend::cudnn),
    kernel<&head_forward_composed_graph, &head_forward_cudnn_supports>("composed_graph", Backend::cudnn),
#endif
    kernel<&head_forward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&head_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("fused", head_forward_fused, supports_head_fused),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("fused", head_backward_fused, supports_head_fused),
#if FOVEA_CUDNN
    kernel<&head_backward_composed_cudnn, &head_backward_cudnn_supports>("composed", Backend::cudnn),
    kernel<&head_backward_composed_graph, &head_backward_cudnn_supports>("composed_graph", Backend::cudnn),
#endif
    kernel<&head_backward_composed, &supports_f32_f64<P>>("composed", Backend::cpu),
    kernel<&head_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("fused", head_backward_fused, supports_head_fused),
};

}  // namespace

constexpr PrimitiveOf<P> head_forward =
    primitive<P, &forward_ports, &forward_cost>("head.forward", forward_kernels);
constexpr PrimitiveOf<P> head_backward =
    primitive<P, &backward_ports, &backward_cost>("head.backward", backward_kernels);

}  // namespace fovea
