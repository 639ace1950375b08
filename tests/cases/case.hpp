// Cases: which problems every kernel of a primitive is tried on. Shared by the tests, the benchmarks and
// `fovea gradcheck`; a primitive without cases fails the suite.
//
// Cases are awkward on purpose: odd sizes, N = 1, one pixel, dilation beyond the image, channels that no tile
// divides.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tensor.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea::cases {

/// The tensors of a primitive's ports, in port order, fp64 on the CPU; inputs and updates are filled, outputs
/// are not. An undefined tensor is an absent optional port.
using PortTensors = std::vector<Tensor>;

/// One problem for one primitive. The harness fills every floating input with normal numbers (scaled by 1),
/// then calls `prepare`, which overwrites what must be consistent (saved statistics, indices, labels) by
/// running reference forwards, or drops optional ports.
struct PrimitiveCase {
  const Primitive* primitive = nullptr;
  std::string label;                                    // "3x3 stride 2 groups 4"
  std::function<std::shared_ptr<void>(Dtype)> problem;  // a copy of the Problem in this dtype
  std::function<void(const void* problem, PortTensors& ports)> prepare;
  double tolerance = 1;  // scales the harness's tolerance where an op is worse conditioned
  /// What every port of a bf16 problem may be off by besides, where a kernel keeps tensors of its own in bf16 on the
  /// way: by their rounding, and where that decides a mask by more.
  double bf16_error = 0;
  bool large = false;  // for what depends on the CPU's caches: too much for the host executor
};

/// Wraps a Problem struct: `make_case(conv2d_forward, "stride 2", Conv2dProblem{...})`.
template <class P>
PrimitiveCase make_case(const PrimitiveOf<P>& primitive, std::string label, const P& problem,
                        std::function<void(const P&, PortTensors&)> prepare = {}, double tolerance = 1,
                        double bf16_error = 0) {
  PrimitiveCase c;
  c.primitive = &primitive;
  c.label = std::move(label);
  c.problem = [problem](Dtype dtype) {
    auto copy = std::make_shared<P>(problem);
    copy->dtype = dtype;
    return std::static_pointer_cast<void>(copy);
  };
  if (prepare) {
    c.prepare = [prepare](const void* p, PortTensors& ports) { prepare(*static_cast<const P*>(p), ports); };
  }
  c.tolerance = tolerance;
  c.bf16_error = bf16_error;
  return c;
}

inline PrimitiveCase large(PrimitiveCase c) {
  c.large = true;
  return c;
}

/// One function for the gradient check: inputs are leaves in fp64 (all of them checked); `run` returns any
/// tensor.
struct GradCase {
  std::string op;  // "conv2d", as in `fovea gradcheck conv2d`
  std::string label;
  std::function<std::vector<Tensor>()> inputs;  // small: the full Jacobian is computed
  std::function<Tensor(const std::vector<Tensor>&)> run;
  std::vector<std::string> not_by = {};  // kernels that take other problems of the op alone
};

/// Normal numbers from a fixed generator: the same in every run.
Tensor random_tensor(const Shape& shape, std::uint64_t seed, Dtype dtype = Dtype::f64, double scale = 1,
                     double shift = 0);

/// All cases of all ops: cases.cpp lists the op headers once.
const std::vector<PrimitiveCase>& primitive_cases();
const std::vector<GradCase>& grad_cases();

}  // namespace fovea::cases
