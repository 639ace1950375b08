// The parts of mlrm, as problems of its siblings: templates of their problems, whose headers the compositions include.
#pragma once

#include "kernels/mlrm/mlrm.hpp"

namespace fovea {

/// The dilated 3x3 convolution of a branch, of Conv2dProblem.
template <class Convolution>
Convolution mlrm_convolution(const MlrmProblem& p, std::int64_t branch) {
  const std::int64_t d = p.dilations[static_cast<std::size_t>(branch)];
  return {.dtype = p.dtype,
          .n = p.n,
          .h = p.h,
          .w = p.w,
          .c = p.c,
          .k = p.c,
          .r = 3,
          .s = 3,
          .pad_h = d,
          .pad_w = d,
          .dilation_h = d,
          .dilation_w = d};
}

/// The normalisation behind it with its ReLU, of BatchNormProblem.
template <class Normalisation>
Normalisation mlrm_normalisation(const MlrmProblem& p) {
  return {
      .dtype = p.dtype, .relu = 1, .rows = p.rows(), .channels = p.c, .eps = p.eps, .momentum = p.momentum};
}

/// An image as the normalisation sees it.
inline View mlrm_rows(const MlrmProblem& p, const View& view) { return with_shape(view, {p.rows(), p.c}); }

}  // namespace fovea
