// cast: the elements of a tensor as another floating type.
//
//   y = x, rounded to the nearest, ties to even; NaN stays NaN
//
// From f64 to bf16 by way of f32, as Tensor::to on the host and PyTorch do, so a value may be rounded twice.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct CastProblem {
  Dtype dtype = Dtype::f32;  // of y
  Dtype from = Dtype::f32;   // of x
  std::int64_t count = 1;    // whatever the shape
  void check() const;
};

/// Ports: x, y, of `count` elements in one dimension.
extern const PrimitiveOf<CastProblem> cast_forward;

}  // namespace fovea
