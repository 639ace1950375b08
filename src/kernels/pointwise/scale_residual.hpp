// scale_residual: the end of a residual branch with layer scale (Touvron et al., arXiv 2103.17239) and stochastic depth
// (Huang et al., arXiv 1603.09382), in one pass.
//
//   y[n,r,c] = x[n,r,c] + s_n gamma_c f[n,r,c]
//   df = s_n gamma_c dy      dgamma_c = sum_{n,r} s_n f dy      dx = dy, which is nobody's to compute
//
// x is samples x rows x channels (rows = H*W). s_n is 0 with probability p, else 1/(1-p), as torchvision's
// StochasticDepth of mode "row" has it; where it is 0, f is not read, so nothing of it passes. It is decided by
// nothing but (seed, offset, n): sample n is dropout's element n (pointwise.hpp).
//
// In a bf16 problem gamma and dgamma are f32.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct ScaleResidualProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t samples = 1, rows = 1, channels = 1;
  double p = 0;  // of dropping a sample's branch, in [0, 1]

  Shape x_shape() const { return {samples, rows, channels}; }
  void check() const;
  bool operator==(const ScaleResidualProblem&) const = default;
};

/// Ports: x, f, gamma, key (i64: seed, offset; absent: every s is 1), y. y may be x or f.
extern const PrimitiveOf<ScaleResidualProblem> scale_residual_forward;
/// Ports: f, gamma, key (as forward), dy, df, dgamma. df may be f or dy.
extern const PrimitiveOf<ScaleResidualProblem> scale_residual_backward;

}  // namespace fovea
