// linear: a fully connected layer, y = act(x w^T + b).
//
//   y[n,o] = act( b[o] + sum_i x[n,i] w[o,i] );   dx = dy w,   dw = dy^T x,   db = sum_n dy
//
// Semantics of torch.nn.functional.linear. The two backward primitives take the gradient with respect to the
// pre-activation: the caller applies the ReLU's mask first. Of a bf16 problem x, w, y and their gradients dx, dy are
// bf16; b, dw and db are f32.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct LinearProblem {
  Dtype dtype = Dtype::f32;
  std::int32_t relu = 0;  // forward only: y = max(y, 0)
  std::int64_t n = 1, in = 1, out = 1;

  Shape x_shape() const { return {n, in}; }
  Shape w_shape() const { return {out, in}; }
  Shape y_shape() const { return {n, out}; }
  void check() const;
  bool operator==(const LinearProblem&) const = default;
};

/// Ports: x, w, b (optional), y.
extern const PrimitiveOf<LinearProblem> linear_forward;
/// Ports: dy, w, dx.
extern const PrimitiveOf<LinearProblem> linear_backward_data;
/// Ports: x, dy, dw, db (optional).
extern const PrimitiveOf<LinearProblem> linear_backward_weights;

}  // namespace fovea
