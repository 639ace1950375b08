// mlrm: multi-dilation residual convolution (HM-VGG, arXiv 2410.24046, Eq. 11 and the text under it):
//
//   z_b = conv3x3_{dilation d_b, padding d_b}( x, w_b )          no bias, C -> C
//   y   = x + sum_b relu( bn_b( z_b ) ),     bn_b(z) = (z - mean_b) invstd_b gamma_b + beta_b
//
// Images N,H,W,C; filters C,3,3,C; one to four branches. Training takes mean and invstd = (var + eps)^-1/2
// from the batch and updates the running ones as torch.nn.functional.batch_norm does: running = (1 -
// momentum) running
// + momentum batch, with the unbiased variance. Inference takes the running ones.
//
// Backward, per branch, with g = dy where bn_b(z_b) > 0, h = (z_b - mean) invstd and R = N H W:
//
//   dbeta = sum g    dgamma = sum g h
//   dz = gamma invstd (g - (dbeta + h dgamma) / R)     in training;     gamma invstd g     in inference
//   dw = the weight gradient of dz and x               dx = dy + sum_b (the data gradient of dz_b)
//
// In a bf16 problem images and filters are bf16; scales, statistics and the gradients of parameters are f32.
#pragma once

#include <array>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct MlrmProblem {
  static constexpr std::int64_t max_branches = 4;

  Dtype dtype = Dtype::f32;
  std::int32_t branches = 1;
  std::int64_t n = 1, h = 1, w = 1, c = 1;
  std::array<std::int64_t, max_branches> dilations{1, 1, 1, 1};  // the first `branches` count
  double eps = 1e-5;
  double momentum = 0.1;  // forward_training only

  std::int64_t rows() const { return n * h * w; }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape w_shape() const { return {c, 3, 3, c}; }
  void check() const;
  /// check(), and the two pixels that batch statistics need.
  void check_training() const;
};

/// Ports: x; per branch w, gamma, beta, running_mean (update), running_var (update);
/// y; per branch z, mean, invstd.
extern const PrimitiveOf<MlrmProblem> mlrm_forward_training;
/// Ports: x; per branch w, gamma, beta, running_mean, running_var; y.
extern const PrimitiveOf<MlrmProblem> mlrm_forward_inference;
/// Through batch statistics. Ports: x, dy; per branch w, gamma, beta, z, mean, invstd;
/// dx (optional); per branch dw (optional), dgamma, dbeta.
extern const PrimitiveOf<MlrmProblem> mlrm_backward;
/// Running statistics are constants; z is computed again. Ports: x, dy; per branch w, gamma, beta,
/// running_mean, running_var; dx (optional); per branch dw (optional), dgamma, dbeta.
extern const PrimitiveOf<MlrmProblem> mlrm_backward_inference;

}  // namespace fovea
