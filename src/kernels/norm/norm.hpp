// batch_norm: normalisation of each channel over all rows, scale and shift, and an optional ReLU in the same
// pass. x is any tensor whose last dimension is the channels, seen as rows x channels (rows = N*H*W).
//
//   training   mean_c = 1/R sum_r x[r,c]     var_c = 1/R sum_r (x[r,c] - mean_c)^2     invstd = (var +
//   eps)^-1/2 inference  mean, var = the running ones z = (x - mean) invstd gamma + beta       y = act(z)
//   training also: running = (1 - momentum) running + momentum (mean, var R/(R-1))
//
// Backward, with g = dy where z > 0 (or everywhere without the ReLU) and h = (x - mean) invstd:
//
//   dbeta = sum_r g      dgamma = sum_r g h
//   dx = gamma invstd (g - (dbeta + h dgamma) / R)      in training
//   dx = gamma invstd g                                 in inference
//
// The mask is computed again from x, so y need not be kept. Semantics of torch.nn.functional.batch_norm
// (Ioffe and Szegedy, arXiv 1502.03167): biased variance to normalise with, unbiased for the running one, and
// an Error for one row in training. All per-channel tensors have C elements of param_dtype(): f32 where x is bf16.
//
// x and dx, and y and dy, may be channels of larger images (x_slice, y_slice): C of a row's `total`. So a layer reads
// what those before it wrote into one image, and adds its part to that image's gradient.
#pragma once

#include "kernels/runtime/channel_slice.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct BatchNormProblem {
  Dtype dtype = Dtype::f32;
  std::int32_t relu = 0;  // y = max(z, 0)
  std::int64_t rows = 2, channels = 1;
  double eps = 1e-5;
  double momentum = 0.1;        // forward_training only
  ChannelSlice x_slice = {};    // of x and dx
  ChannelSlice y_slice = {};    // of y and dy
  std::int64_t accumulate = 0;  // backward only: dx is added to, not written

  Shape x_shape() const { return x_slice.shape_of({rows, channels}); }
  Shape y_shape() const { return y_slice.shape_of({rows, channels}); }
  bool has_slices() const { return !x_slice.is_whole() || !y_slice.is_whole(); }
  void check() const;
  /// check(), and the two rows that batch statistics need.
  void check_training() const;
};

/// Ports: x, gamma, beta, running_mean (update), running_var (update), y, mean, invstd. y is an
/// update where it is a slice.
extern const PrimitiveOf<BatchNormProblem> batch_norm_forward_training;
/// Ports: x, gamma, beta, running_mean, running_var, y.
extern const PrimitiveOf<BatchNormProblem> batch_norm_forward_inference;
/// Through batch statistics. Ports: x, dy, gamma, beta, mean, invstd, dx (an update where it is a slice or added to),
/// dgamma, dbeta. dx may be dy where neither is.
extern const PrimitiveOf<BatchNormProblem> batch_norm_backward;
/// Running statistics are constants. Ports: x, dy, gamma, beta, running_mean, running_var, dx, dgamma, dbeta.
/// dx as in batch_norm_backward.
extern const PrimitiveOf<BatchNormProblem> batch_norm_backward_inference;

}  // namespace fovea
