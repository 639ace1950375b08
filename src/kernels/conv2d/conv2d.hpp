// conv2d: two-dimensional cross-correlation over N,H,W,C with stride, padding, dilation, groups, bias and
// ReLU.
//
//   y[n,p,q,k] = act( b[k] + sum_{r,s,c} x[n, p*stride_h - pad_h + r*dilation_h, q*stride_w - pad_w +
//   s*dilation_w, g*C/G + c]
//                                        * w[k,r,s,c] ),   g = k / (K/G), x zero outside the image
//
// Semantics of torch.nn.functional.conv2d; filters are K,R,S,C/G here. The gradient with respect to the
// pre-activation is what the two backward primitives take: the caller applies the ReLU's mask first. In a bf16
// problem images and filters are bf16, the bias and the gradients of filters and bias f32.
//
// The forward can write y into channels of a larger image: y_slice. The backward primitives take dy by itself.
#pragma once

#include "kernels/runtime/channel_slice.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct Conv2dProblem {
  Dtype dtype = Dtype::f32;
  std::int32_t relu = 0;                    // forward only: y = max(y, 0)
  std::int64_t n = 1, h = 1, w = 1, c = 1;  // input
  std::int64_t k = 1, r = 1, s = 1;         // filters
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;  // on both sides
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  ChannelSlice y_slice = {};  // forward only: where y lies in its port

  std::int64_t out_h() const { return (h + 2 * pad_h - dilation_h * (r - 1) - 1) / stride_h + 1; }
  std::int64_t out_w() const { return (w + 2 * pad_w - dilation_w * (s - 1) - 1) / stride_w + 1; }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape w_shape() const { return {k, r, s, c / groups}; }
  Shape y_shape() const { return {n, out_h(), out_w(), k}; }
  void check() const;
  bool operator==(const Conv2dProblem&) const = default;
};

/// Ports: x, w, b (optional), y (an update where it is a slice).
extern const PrimitiveOf<Conv2dProblem> conv2d_forward;
/// Ports: dy, w, dx.
extern const PrimitiveOf<Conv2dProblem> conv2d_backward_data;
/// Ports: x, dy, dw, db (optional).
extern const PrimitiveOf<Conv2dProblem> conv2d_backward_weights;

}  // namespace fovea
