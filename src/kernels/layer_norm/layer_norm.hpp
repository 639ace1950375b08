// layer_norm: normalisation of each row over its channels, scale and shift. x is any tensor whose last dimension is the
// channels, seen as rows x channels.
//
//   mean_r = 1/C sum_c x[r,c]     rstd_r = (1/C sum_c (x[r,c] - mean_r)^2 + eps)^-1/2     h = (x - mean) rstd
//   y = h gamma + beta
//
// Backward, with g = dy gamma:
//
//   dx = rstd (g - 1/C sum_c g - h 1/C sum_c g h)      dgamma = sum_r dy h      dbeta = sum_r dy
//
// Semantics of torch.nn.functional.layer_norm over the last dimension (Ba, Kiros and Hinton, arXiv 1607.06450). gamma,
// beta, mean, rstd, dgamma and dbeta are of param_dtype(): f32 where x is bf16.
//
// A folder of its own beside norm's: there each channel is reduced over the rows, here each row over the channels, so
// they share neither kernels nor statistics.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct LayerNormProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t rows = 1, channels = 1;
  double eps = 1e-5;

  Shape x_shape() const { return {rows, channels}; }
  void check() const;
  bool operator==(const LayerNormProblem&) const = default;
};

/// Ports: x, gamma, beta, y, mean (optional), rstd (optional). y may be x.
extern const PrimitiveOf<LayerNormProblem> layer_norm_forward;
/// Ports: x, dy, gamma, mean, rstd, dx, dgamma, dbeta. dx may be dy.
extern const PrimitiveOf<LayerNormProblem> layer_norm_backward;

}  // namespace fovea
