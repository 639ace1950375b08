// concat: the shape check, the ports, the cost and the kernel tables. See concat.hpp.
#include "kernels/concat/concat.hpp"

#include <fmt/format.h>

#include "kernels/concat/kernels.hpp"

namespace fovea {

void ConcatProblem::check() const {
  if (parts < 1 || parts > max_parts) {
    fail(fmt::format("concat: takes 1 to {} tensors, got {}", max_parts, parts));
  }
  if (rows < 0) fail(fmt::format("concat: {} rows must be at least 0", rows));
  for (std::int64_t i = 0; i < parts; ++i) {
    const std::int64_t c = channels[static_cast<std::size_t>(i)];
    if (c < 1) fail(fmt::format("concat: tensor {} has {} channels, needs at least 1", i, c));
  }
}

namespace {

constexpr const char* x_names[] = {"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"};
constexpr const char* dx_names[] = {"dx0", "dx1", "dx2", "dx3", "dx4", "dx5", "dx6", "dx7"};

PortList forward_ports(const ConcatProblem& p) {
  PortList ports;
  for (std::size_t i = 0; i < static_cast<std::size_t>(p.parts); ++i) {
    ports.add({x_names[i], Role::input, {p.rows, p.channels[i]}, p.dtype});
  }
  ports.add({"y", Role::output, {p.rows, p.total()}, p.dtype});
  return ports;
}

PortList backward_ports(const ConcatProblem& p) {
  PortList ports{{"dy", Role::input, {p.rows, p.total()}, p.dtype}};
  for (std::size_t i = 0; i < static_cast<std::size_t>(p.parts); ++i) {
    ports.add({dx_names[i], Role::output, {p.rows, p.channels[i]}, p.dtype, true});
  }
  return ports;
}

template <auto PortsOf>
Cost cost(const ConcatProblem& p) {
  return {0, bytes_of(PortsOf(p))};
}

using P = ConcatProblem;
constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("vector", concat_forward_vector, supports_concat_vector),
    kernel<&concat_forward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&concat_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", concat_forward_vector, supports_concat_vector),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", concat_backward_vector, supports_concat_vector),
    kernel<&concat_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&concat_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", concat_backward_vector, supports_concat_vector),
};

}  // namespace

constexpr PrimitiveOf<P> concat_forward =
    primitive<P, &forward_ports, &cost<&forward_ports>>("concat.forward", forward_kernels);
constexpr PrimitiveOf<P> concat_backward =
    primitive<P, &backward_ports, &cost<&backward_ports>>("concat.backward", backward_kernels);

}  // namespace fovea
