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

void SoftmaxProblem::check() const {
  if (n < 1 || k < 1) fail(fmt::format("softmax: {} rows of {} values must be at least 1x1", n, k));
}

namespace {

PortList forward_ports(const CrossEntropyProblem& p) {
  const Dtype small = param_dtype(p.dtype);
  return {{"logits", Role::input, {p.n, p.k}, p.dtype},
          {"labels", Role::input, {p.n}, Dtype::i64},
          {"class_weights", Role::input, {p.k}, small, true},
          {"loss", Role::output, {}, small},
          {"probabilities", Role::output, {p.n, p.k}, small}};
}

PortList backward_ports(const CrossEntropyProblem& p) {
  const Dtype small = param_dtype(p.dtype);
  return {{"probabilities", Role::input, {p.n, p.k}, small},
          {"labels", Role::input, {p.n}, Dtype::i64},
          {"class_weights", Role::input, {p.k}, small, true},
          {"dloss", Role::input, {}, small},
          {"dlogits", Role::output, {p.n, p.k}, p.dtype}};
}

PortList softmax_forward_ports(const SoftmaxProblem& p) {
  return {{"x", Role::input, {p.n, p.k}, p.dtype}, {"y", Role::output, {p.n, p.k}, p.dtype}};
}

PortList softmax_backward_ports(const SoftmaxProblem& p) {
  return {{"y", Role::input, {p.n, p.k}, p.dtype},
          {"dy", Role::input, {p.n, p.k}, p.dtype},
          {"dx", Role::output, {p.n, p.k}, p.dtype}};
}

// Per logit: forward max, subtract, exp, add, divide, and two for the loss; backward five.
template <auto PortsOf, int Flops, class Problem = CrossEntropyProblem>
Cost cost(const Problem& p) {
  return {static_cast<double>(Flops) * static_cast<double>(p.n * p.k), bytes_of(PortsOf(p))};
}

using P = CrossEntropyProblem;
// A batch of logits is a few hundred numbers: on a CPU the reference, which sums in double, is the kernel.
constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("warp_rows", softmax_cross_entropy_forward_warp_rows,
                   supports_softmax_cross_entropy_warp_rows),
    kernel<&softmax_cross_entropy_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("warp_rows", softmax_cross_entropy_forward_warp_rows,
                   supports_softmax_cross_entropy_warp_rows),
};
constexpr Kernel backward_kernels[] = {
    FOVEA_CUDA_ROW("warp_rows", softmax_cross_entropy_backward_warp_rows,
                   supports_softmax_cross_entropy_warp_rows),
    kernel<&softmax_cross_entropy_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("warp_rows", softmax_cross_entropy_backward_warp_rows,
                   supports_softmax_cross_entropy_warp_rows),
};

constexpr Kernel softmax_forward_kernels[] = {
    FOVEA_CUDA_ROW("warp_rows", softmax_forward_warp_rows, supports_softmax_warp_rows),
    kernel<&softmax_forward_reference, &supports_f32_f64<SoftmaxProblem>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("warp_rows", softmax_forward_warp_rows, supports_softmax_warp_rows),
};
constexpr Kernel softmax_backward_kernels[] = {
    FOVEA_CUDA_ROW("warp_rows", softmax_backward_warp_rows, supports_softmax_warp_rows),
    kernel<&softmax_backward_reference, &supports_f32_f64<SoftmaxProblem>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("warp_rows", softmax_backward_warp_rows, supports_softmax_warp_rows),
};

}  // namespace

constexpr PrimitiveOf<P> softmax_cross_entropy_forward =
    primitive<P, &forward_ports, &cost<&forward_ports, 7>>("softmax_cross_entropy.forward", forward_kernels);
constexpr PrimitiveOf<P> softmax_cross_entropy_backward =
    primitive<P, &backward_ports, &cost<&backward_ports, 5>>("softmax_cross_entropy.backward",
                                                             backward_kernels);

constexpr PrimitiveOf<SoftmaxProblem> softmax_forward =
    primitive<SoftmaxProblem, &softmax_forward_ports, &cost<&softmax_forward_ports, 5, SoftmaxProblem>>(
        "softmax.forward", softmax_forward_kernels);
constexpr PrimitiveOf<SoftmaxProblem> softmax_backward =
    primitive<SoftmaxProblem, &softmax_backward_ports, &cost<&softmax_backward_ports, 4, SoftmaxProblem>>(
        "softmax.backward", softmax_backward_kernels);

}  // namespace fovea
