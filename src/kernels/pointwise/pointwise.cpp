// pointwise: the shape checks, the ports, the costs and the kernel tables. See pointwise.hpp.
#include "kernels/pointwise/pointwise.hpp"

#include <Random123/philox.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/pointwise/kernels.hpp"

namespace fovea {
namespace {

// Dimension i of the shape once it is aligned to the right of `rank` dimensions.
std::int64_t aligned(const Shape& shape, int rank, int i) {
  const int own = i - (rank - shape.rank());
  return own < 0 ? 1 : shape[own];
}

void check_count(std::int64_t count) {
  if (count < 0) fail(fmt::format("pointwise: {} elements must be at least 0", count));
}

}  // namespace

void PointwiseProblem::check() const { check_count(count); }

void DropoutProblem::check() const {
  check_count(count);
  if (!(p >= 0 && p <= 1)) fail(fmt::format("dropout: the probability {} must lie in [0, 1]", p));
}

Shape BroadcastProblem::y_shape() const {
  const int rank = std::max(a.rank(), b.rank());
  Shape y;
  for (int i = 0; i < rank; ++i) {
    const std::int64_t da = aligned(a, rank, i), db = aligned(b, rank, i);
    y.push_back(da == 1 ? db : da);
  }
  return y;
}

void BroadcastProblem::check() const {
  const int rank = std::max(a.rank(), b.rank());
  for (int i = 0; i < rank; ++i) {
    const std::int64_t da = aligned(a, rank, i), db = aligned(b, rank, i);
    if (da < 0 || db < 0 || (da != db && da != 1 && db != 1)) {
      fail(fmt::format("shapes {} and {} do not broadcast: matched from the last dimension, {} meets {}",
                       to_string(a), to_string(b), da, db));
    }
  }
}

BroadcastLoops broadcast_loops(const BroadcastProblem& problem) {
  const Shape y = problem.y_shape();
  BroadcastLoops loops;
  bool a_walks_before = false, b_walks_before = false;
  for (int i = 0; i < y.rank(); ++i) {
    const bool a_walks = aligned(problem.a, y.rank(), i) != 1, b_walks = aligned(problem.b, y.rank(), i) != 1;
    if (y[i] == 1) continue;
    if (loops.rank > 0 && a_walks == a_walks_before && b_walks == b_walks_before) {
      loops.size[static_cast<std::size_t>(loops.rank - 1)] *= y[i];
      continue;
    }
    const auto at = static_cast<std::size_t>(loops.rank++);
    loops.size[at] = y[i];
    loops.a_stride[at] = a_walks_before = a_walks;
    loops.b_stride[at] = b_walks_before = b_walks;
  }
  if (loops.rank == 0) {
    loops.rank = 1;
    loops.size[0] = loops.a_stride[0] = loops.b_stride[0] = 1;
  }
  // The strides say so far whether an operand walks a dimension; inner sizes turn that into elements.
  std::int64_t a_step = 1, b_step = 1;
  for (int i = loops.rank - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    if (loops.a_stride[at] != 0) {
      loops.a_stride[at] = a_step;
      a_step *= loops.size[at];
    }
    if (loops.b_stride[at] != 0) {
      loops.b_stride[at] = b_step;
      b_step *= loops.size[at];
    }
  }
  return loops;
}

std::uint64_t dropout_threshold(double p) { return static_cast<std::uint64_t>(std::ceil(p * 0x1p32)); }

double dropout_scale(double p) { return p < 1 ? 1 / (1 - p) : 0; }

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
          {"mask", Role::output, {p.count}, Dtype::u8}};
}
PortList dropout_backward_ports(const DropoutProblem& p) {
  return {{"mask", Role::input, {p.count}, Dtype::u8},
          {"dy", Role::input, {p.count}, p.dtype},
          {"dx", Role::output, {p.count}, p.dtype}};
}

std::int64_t elements(const PointwiseProblem& p) { return p.count; }
std::int64_t elements(const DropoutProblem& p) { return p.count; }
std::int64_t elements(const BroadcastProblem& p) { return p.y_shape().numel(); }

// An exponential counts as one operation, as a multiplication does.
template <class P, auto PortsOf, int Flops>
Cost cost(const P& p) {
  return {static_cast<double>(Flops) * static_cast<double>(elements(p)), bytes_of(PortsOf(p))};
}

using Unary = PointwiseProblem;
using Binary = BroadcastProblem;

template <auto Cpu, auto Reference, class P>
constexpr Kernel table[2] = {kernel<Cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
                             kernel<Reference, &supports_f32_f64<P>>("reference", Backend::reference)};

template <class P, auto PortsOf, int Flops, auto Cpu, auto Reference>
constexpr PrimitiveOf<P> define(const char* name) {
  return primitive<P, PortsOf, &cost<P, PortsOf, Flops>>(name, table<Cpu, Reference, P>);
}

}  // namespace

constexpr PrimitiveOf<Unary> relu_forward =
    define<Unary, &unary_forward_ports, 1, &relu_forward_cpu, &relu_forward_reference>("relu.forward");
constexpr PrimitiveOf<Unary> relu_backward =
    define<Unary, &unary_backward_ports, 1, &relu_backward_cpu, &relu_backward_reference>("relu.backward");
constexpr PrimitiveOf<Unary> sigmoid_forward =
    define<Unary, &unary_forward_ports, 4, &sigmoid_forward_cpu, &sigmoid_forward_reference>(
        "sigmoid.forward");
constexpr PrimitiveOf<Unary> sigmoid_backward =
    define<Unary, &unary_backward_ports, 3, &sigmoid_backward_cpu, &sigmoid_backward_reference>(
        "sigmoid.backward");
constexpr PrimitiveOf<Binary> add_forward =
    define<Binary, &binary_forward_ports, 1, &add_forward_cpu, &add_forward_reference>("add.forward");
constexpr PrimitiveOf<Binary> add_backward =
    define<Binary, &add_backward_ports, 2, &add_backward_cpu, &add_backward_reference>("add.backward");
constexpr PrimitiveOf<Binary> multiply_forward =
    define<Binary, &binary_forward_ports, 1, &multiply_forward_cpu, &multiply_forward_reference>(
        "multiply.forward");
constexpr PrimitiveOf<Binary> multiply_backward =
    define<Binary, &multiply_backward_ports, 4, &multiply_backward_cpu, &multiply_backward_reference>(
        "multiply.backward");
constexpr PrimitiveOf<DropoutProblem> dropout_forward =
    define<DropoutProblem, &dropout_forward_ports, 1, &dropout_forward_cpu, &dropout_forward_reference>(
        "dropout.forward");
constexpr PrimitiveOf<DropoutProblem> dropout_backward =
    define<DropoutProblem, &dropout_backward_ports, 1, &dropout_backward_cpu, &dropout_backward_reference>(
        "dropout.backward");

}  // namespace fovea
