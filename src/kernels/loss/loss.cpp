// loss: the checks, the ports, the cost and the kernel tables. See loss.hpp.
#include "kernels/loss/loss.hpp"

#include <fmt/format.h>

#include "kernels/loss/kernels.hpp"

namespace fovea {

void CrossEntropyProblem::check() const {
  if (n < 1 || k < 1) {
    fail(fmt::format("cross-entropy: logits of {} rows and {} classes must be at least 1x1", n, k));
  }
  if (!(label_smoothing >= 0 && label_smoothing <= 1)) {
    fail(fmt::format("cross-entropy: label smoothing {} must lie in [0, 1]", label_smoothing));
  }
}

namespace {

PortList forward_ports(const CrossEntropyProblem& p) {
  return {{"logits", Role::input, {p.n, p.k}, p.dtype},
          {"labels", Role::input, {p.n}, Dtype::i64},
          {"class_weights", Role::input, {p.k}, p.dtype, true},
          {"loss", Role::output, {}, p.dtype},
          {"probabilities", Role::output, {p.n, p.k}, p.dtype}};
}

PortList backward_ports(const CrossEntropyProblem& p) {
  return {{"probabilities", Role::input, {p.n, p.k}, p.dtype},
          {"labels", Role::input, {p.n}, Dtype::i64},
          {"class_weights", Role::input, {p.k}, p.dtype, true},
          {"dloss", Role::input, {}, p.dtype},
          {"dlogits", Role::output, {p.n, p.k}, p.dtype}};
}

// Per logit: forward max, subtract, exp, add, divide, and two for the loss; backward five.
template <auto PortsOf, int Flops>
Cost cost(const CrossEntropyProblem& p) {
  return {static_cast<double>(Flops) * static_cast<double>(p.n * p.k), bytes_of(PortsOf(p))};
}

using P = CrossEntropyProblem;
// A batch of logits is a few hundred numbers: the reference, which sums in double, is the kernel.
constexpr Kernel forward_kernels[] = {
    kernel<&softmax_cross_entropy_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
};
constexpr Kernel backward_kernels[] = {
    kernel<&softmax_cross_entropy_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
};

}  // namespace

constexpr PrimitiveOf<P> softmax_cross_entropy_forward =
    primitive<P, &forward_ports, &cost<&forward_ports, 7>>("softmax_cross_entropy.forward", forward_kernels);
constexpr PrimitiveOf<P> softmax_cross_entropy_backward =
    primitive<P, &backward_ports, &cost<&backward_ports, 5>>("softmax_cross_entropy.backward",
                                                             backward_kernels);

}  // namespace fovea
