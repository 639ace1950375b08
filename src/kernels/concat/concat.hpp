// concat: up to eight tensors side by side along the last dimension, and the gradient cut apart again.
//
//   y[r, :] = x0[r, :], x1[r, :], ...
//
// All leading dimensions count as rows: an image N,H,W,C has N*H*W of them.
#pragma once

#include <array>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct ConcatProblem {
  static constexpr std::int64_t max_parts = 8;

  Dtype dtype = Dtype::f32;
  std::int64_t rows = 1;
  std::int64_t parts = 1;
  std::array<std::int64_t, max_parts> channels{};  // of the first `parts`

  std::int64_t total() const {  // channels of y
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < parts; ++i) sum += channels[static_cast<std::size_t>(i)];
    return sum;
  }
  void check() const;
  bool operator==(const ConcatProblem&) const = default;
};

/// Ports: x0, x1, ..., y; x are rows,channels[i] and y is rows,total().
extern const PrimitiveOf<ConcatProblem> concat_forward;
/// Ports: dy, dx0 (optional), dx1 (optional), ...
extern const PrimitiveOf<ConcatProblem> concat_backward;

}  // namespace fovea
