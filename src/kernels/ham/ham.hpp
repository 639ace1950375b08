// ham: fused channel-spatial attention (HM-VGG, arXiv 2410.24046, Eqs. 5-10), per image n, pixel p, channel
// c:
//
//   S[n,p]   = sigmoid( sum_c x[n,p,c] * spatial_weight[c] + spatial_bias )
//   A[n,c]   = mean_p x[n,p,c]
//   Z[n,j]   = relu( fc1 A[n,:] )        W[n,c] = sigmoid( fc2 Z[n,:] )
//   y[n,p,c] = x * sigmoid( x * S[n,p] + x * W[n,c] )     paper
//            = x * ( S[n,p] + W[n,c] )                    scse (concurrent squeeze and excitation,
//            1803.02579)
//
// Images N,H,W,C; fc1 hidden,C; fc2 C,hidden. Forward returns S, A, Z and W too: they are small, and backward
// reads them.
//
// In bf16 the images x, y, dy and dx are bf16. The parameters, their gradients and S, A, Z, W are f32: they are
// a thousandth of the traffic, and the optimizer's master copies then need no cast.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct HamProblem {
  Dtype dtype = Dtype::f32;
  std::int32_t scse = 0;                    // 0: Eq. 10 as printed; 1: the scSE ablation
  std::int64_t n = 1, h = 1, w = 1, c = 1;  // input
  std::int64_t hidden = 1;                  // outputs of fc1

  std::int64_t pixels() const { return h * w; }
  Shape x_shape() const { return {n, h, w, c}; }
  /// Of the parameters, their gradients and the small tensors that backward reads.
  Dtype param_dtype() const { return fovea::param_dtype(dtype); }
  void check() const;
  bool operator==(const HamProblem&) const = default;
};

/// Ports: x, spatial_weight (C), spatial_bias (1), fc1_weight, fc1_bias, fc2_weight, fc2_bias,
/// y, s (N,H,W), a (N,C), z (N,hidden; after the ReLU), wgt (N,C).
extern const PrimitiveOf<HamProblem> ham_forward;
/// Ports: x, dy, spatial_weight, fc1_weight, fc2_weight, s, a, z, wgt,
/// dx, dspatial_weight, dspatial_bias, dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias.
extern const PrimitiveOf<HamProblem> ham_backward;

}  // namespace fovea
