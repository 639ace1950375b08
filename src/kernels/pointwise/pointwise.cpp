// pointwise: the shape checks, the ports, the costs and the kernel tables. See pointwise.hpp.
#include "kernels/pointwise/pointwise.hpp"

#include <Random123/philox.h>
#include <fmt/format.h>

#include "kernels/pointwise/kernels.hpp"

namespace fovea {
namespace {

void check_count(std::int64_t count) {
  if (count < 0) fail(fmt::format("pointwise: {} elements must be at least 0", count));
}

}  // namespace

void PointwiseProblem::check() const { check_count(count); }

void DropoutProblem::check() const {
  check_count(count);
  if (!(p >= 0 && p <= 1)) fail(fmt::format("dropout: the probability {} must lie in [0, 1]", p));
}

std::array<std::uint32_t, 4> dropout_words(const std::int64_t* key, std::int64_t block) {
  const auto low = [](std::int64_t v) { return static_cast<std::uint32_t>(v); };
  const auto high = [](std::int64_t v) {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(v) >> 32);
  };
  const r123::Philox4x32 philox;
  const auto words =
      philox({{low(block), high(block), low(key[1]), high(key[1])}}, {{low(key[0]), high(key[0])}});
  return {words[0], words[1], words[2], words[3]};
}

namespace {

PortList unary_forward_ports(const PointwiseProblem& p) {
  return {{"x", Role::input, {p.count}, p.dtype}, {"y", Role::output, {p.count}, p.dtype}};
}
PortList unary_backward_ports(const PointwiseProblem& p) {
  return {{"y", Role::input, {p.count}, p.dtype},
          {"dy", Role::input, {p.count}, p.dtype},
          {"dx", Role::output, {p.count}, p.dtype}};
}
PortList gelu_backward_ports(const PointwiseProblem& p) {
  return {{"x", Role::input, {p.count}, p.dtype},
          {"dy", Role::input, {p.count}, p.dtype},
          {"dx", Role::output, {p.count}, p.dtype}};
}

PortList binary_forward_ports(const BroadcastProblem& p) {
  return {{"a", Role::input, p.a, p.dtype},
          {"b", Role::input, p.b, p.dtype},
          {"y", Role::output, p.y_shape(), p.dtype}};
}
PortList add_backward_ports(const BroadcastProblem& p) {
  return {{"dy", Role::input, p.y_shape(), p.dtype},
          {"da", Role::output, p.a, p.dtype, true},
          {"db", Role::output, p.b, p.dtype, true}};
}
PortList multiply_backward_ports(const BroadcastProblem& p) {
  return {{"a", Role::input, p.a, p.dtype},
          {"b", Role::input, p.b, p.dtype},
          {"dy", Role::input, p.y_shape(), p.dtype},
          {"da", Role::output, p.a, p.dtype, true},
          {"db", Role::output, p.b, p.dtype, true}};
}

PortList dropout_forward_ports(const DropoutProblem& p) {
  return {{"x", Role::input, {p.count}, p.dtype},
          {"key", Role::input, {2}, Dtype::i64},
          {"y", Role::output, {p.count}, p.dtype},
          {"mask", Role::output, p.mask_shape(), Dtype::u8}};
}
PortList dropout_backward_ports(const DropoutProblem& p) {
  return {{"mask", Role::input, p.mask_shape(), Dtype::u8},
          {"dy", Role::input, {p.count}, p.dtype},
          {"dx", Role::output, {p.count}, p.dtype}};
}

std::int64_t elements(const PointwiseProblem& p) { return p.count; }
std::int64_t elements(const DropoutProblem& p) { return p.count; }
std::int64_t elements(const BroadcastProblem& p) { return p.y_shape().numel(); }

// An exponential, and erf, counts as one operation, as a multiplication does.
template <class P, auto PortsOf, int Flops>
Cost cost(const P& p) {
  return {static_cast<double>(Flops) * static_cast<double>(elements(p)), bytes_of(PortsOf(p))};
}

using Unary = PointwiseProblem;
using Binary = BroadcastProblem;

// The kernels of a primitive; "vector" is one idea for all of them.
#define POINTWISE_KERNELS(op, P, supports_vector)                                     \
  constexpr Kernel op##_kernels[] = {                                                 \
      FOVEA_CUDA_ROW("vector", op##_vector, supports_vector),                         \
      kernel<&op##_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),                   \
      kernel<&op##_reference, &supports_f32_f64<P>>("reference", Backend::reference), \
      FOVEA_SIMT_ROW("vector", op##_vector, supports_vector)}

POINTWISE_KERNELS(relu_forward, Unary, supports_pointwise_vector);
POINTWISE_KERNELS(relu_backward, Unary, supports_pointwise_vector);
POINTWISE_KERNELS(sigmoid_forward, Unary, supports_pointwise_vector);
POINTWISE_KERNELS(sigmoid_backward, Unary, supports_pointwise_vector);
POINTWISE_KERNELS(add_forward, Binary, supports_broadcast_vector);
POINTWISE_KERNELS(add_backward, Binary, supports_broadcast_vector);
POINTWISE_KERNELS(multiply_forward, Binary, supports_broadcast_vector);
POINTWISE_KERNELS(multiply_backward, Binary, supports_broadcast_vector);

constexpr Kernel gelu_forward_kernels[] = {
    FOVEA_CUDA_ROW("vector", gelu_forward_vector, supports_pointwise_vector),
#if FOVEA_CUDNN
    kernel<&gelu_forward_cudnn, &gelu_forward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&gelu_forward_cpu, &supports_f32_f64<Unary>>("cpu", Backend::cpu),
    kernel<&gelu_forward_reference, &supports_f32_f64<Unary>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", gelu_forward_vector, supports_pointwise_vector)};
constexpr Kernel gelu_backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", gelu_backward_vector, supports_pointwise_vector),
#if FOVEA_CUDNN
    kernel<&gelu_backward_cudnn, &gelu_backward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&gelu_backward_cpu, &supports_f32_f64<Unary>>("cpu", Backend::cpu),
    kernel<&gelu_backward_reference, &supports_f32_f64<Unary>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", gelu_backward_vector, supports_pointwise_vector)};
POINTWISE_KERNELS(dropout_forward, DropoutProblem, supports_dropout_vector);
POINTWISE_KERNELS(dropout_backward, DropoutProblem, supports_dropout_vector);
#undef POINTWISE_KERNELS

template <class P, auto PortsOf, int Flops>
constexpr PrimitiveOf<P> define(const char* name, std::span<const Kernel> kernels) {
  return primitive<P, PortsOf, &cost<P, PortsOf, Flops>>(name, kernels);
}

}  // namespace

constexpr PrimitiveOf<Unary> relu_forward =
    define<Unary, &unary_forward_ports, 1>("relu.forward", relu_forward_kernels);
constexpr PrimitiveOf<Unary> relu_backward =
    define<Unary, &unary_backward_ports, 1>("relu.backward", relu_backward_kernels);
constexpr PrimitiveOf<Unary> sigmoid_forward =
    define<Unary, &unary_forward_ports, 4>("sigmoid.forward", sigmoid_forward_kernels);
constexpr PrimitiveOf<Unary> sigmoid_backward =
    define<Unary, &unary_backward_ports, 3>("sigmoid.backward", sigmoid_backward_kernels);
constexpr PrimitiveOf<Unary> gelu_forward =
    define<Unary, &unary_forward_ports, 5>("gelu.forward", gelu_forward_kernels);
constexpr PrimitiveOf<Unary> gelu_backward =
    define<Unary, &gelu_backward_ports, 10>("gelu.backward", gelu_backward_kernels);
constexpr PrimitiveOf<Binary> add_forward =
    define<Binary, &binary_forward_ports, 1>("add.forward", add_forward_kernels);
constexpr PrimitiveOf<Binary> add_backward =
    define<Binary, &add_backward_ports, 2>("add.backward", add_backward_kernels);
constexpr PrimitiveOf<Binary> multiply_forward =
    define<Binary, &binary_forward_ports, 1>("multiply.forward", multiply_forward_kernels);
constexpr PrimitiveOf<Binary> multiply_backward =
    define<Binary, &multiply_backward_ports, 4>("multiply.backward", multiply_backward_kernels);
constexpr PrimitiveOf<DropoutProblem> dropout_forward =
    define<DropoutProblem, &dropout_forward_ports, 1>("dropout.forward", dropout_forward_kernels);
constexpr PrimitiveOf<DropoutProblem> dropout_backward =
    define<DropoutProblem, &dropout_backward_ports, 1>("dropout.backward", dropout_backward_kernels);

}  // namespace fovea
