// optim: the updates of Adam, AdamW and SGD, the sum of squares behind the global gradient norm, and the scale that
// clips it.
//
//   g = grad_scale * scale * grad
//   adam   g += weight_decay * param                      (decoupled, AdamW: param *= 1 - learning_rate *
//   weight_decay)
//          m = beta1 m + (1-beta1) g,  v = beta2 v + (1-beta2) g^2
//          param -= learning_rate / (1-beta1^t) * m / ( sqrt(v) / sqrt(1-beta2^t) + eps )
//   sgd    g += weight_decay * param,  m = momentum m + g,  param -= learning_rate * m
//
// As torch.optim.{Adam, AdamW, SGD} (Kingma & Ba 2015, Loshchilov & Hutter 2019). t counts the updates of
// this tensor, from 1. grad_scale and `scale` carry the clipping of the global norm, so that no pass of its own
// is needed for it: grad_scale where the host knows it, `scale` where clip_scale left it on the device, so that
// nothing is read back. Where the scale is not finite an update changes nothing.
//
// Training in bf16 keeps fp32 masters: parameters, gradients and moments are of the problem's dtype, and the
// update writes a bf16 copy of the parameter, its shadow, in the same pass (fp32 master, bf16 shadow).
//
// Each update and the sum have two forms. Flat (`tensors` = 0): the ports are the arrays themselves, `count`
// elements each. List (`tensors` > 0): instead of the arrays there is a table of addresses, one TensorRow per
// tensor with `count` elements in all, and one call updates every tensor. That is what the optimizer uses: one
// pass over chunks of all tensors. The addresses lie on the device of the table.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// A row of the table, as seven i64: addresses of arrays of `count` elements of the problem's dtype, t, and the
/// address of `count` elements of bf16.
struct TensorRow {
  std::int64_t param = 0, grad = 0;
  std::int64_t first = 0, second = 0;  // moments; 0 where the update has none
  std::int64_t count = 0;
  std::int64_t step = 1;
  std::int64_t shadow = 0;  // the bf16 copy of param; 0: none

  static constexpr std::int64_t columns = 7;
};
static_assert(sizeof(TensorRow) == TensorRow::columns * sizeof(std::int64_t));

struct AdamProblem {
  Dtype dtype = Dtype::f32;
  std::int32_t decoupled = 0;  // weight decay as in AdamW
  std::int64_t count = 1;
  std::int64_t tensors = 0;  // rows of the table; 0: the flat form
  std::int64_t step = 1;     // t, of the flat form
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double grad_scale = 1;
  void check() const;
};
/// Ports, flat: param (update), grad, exp_avg (update), exp_avg_sq (update), scale (scalar, f64, optional: 1),
/// shadow (update, bf16, optional). List: table, scale.
extern const PrimitiveOf<AdamProblem> adam;

struct SgdProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  std::int64_t tensors = 0;
  double learning_rate = 1e-3, momentum = 0, weight_decay = 0;
  double grad_scale = 1;
  void check() const;
};
/// Ports, flat: param (update), grad, momentum (update; optional, and untouched, where momentum is 0), scale, shadow
/// as of adam. List: table, scale.
extern const PrimitiveOf<SgdProblem> sgd;

struct SumOfSquaresProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  std::int64_t tensors = 0;
  void check() const;
};
/// Ports, flat: x, result (scalar, f64). List: table, of which `grad` is summed; result. Summed in double, in
/// chunks of fixed size merged in order.
extern const PrimitiveOf<SumOfSquaresProblem> sum_of_squares;

struct ClipScaleProblem {
  Dtype dtype = Dtype::f64;  // both ports are f64, whatever this is
  double clip_norm = 0;      // 0: no clipping
  void check() const;
};
/// scale = min(1, clip_norm / (sqrt(sum) + 1e-6)), or 1 without clipping; NaN where the norm is not finite.
/// Ports: sum (scalar, f64), scale (scalar, f64).
extern const PrimitiveOf<ClipScaleProblem> clip_scale;

}  // namespace fovea
