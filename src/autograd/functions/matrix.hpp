// Tensors as matrices: the first dimension by all the others, as they lie.
#pragma once

#include "kernels/runtime/view.hpp"

namespace fovea {

/// rows x elements of a row. The shape has at least one dimension.
inline Shape matrix_shape(const Shape& shape) {
  std::int64_t size = 1;
  for (int i = 1; i < shape.rank(); ++i) size *= shape[i];
  return {shape[0], size};
}

}  // namespace fovea
