// The filters of an op in the type of its images: a bf16 op reads the bf16 copy of its fp32 master.
#pragma once

#include "autograd/tensor.hpp"

namespace fovea {

inline Tensor filters_for(const Tensor& x, const Tensor& w) {
  return x.dtype() == Dtype::bf16 && w.dtype() == Dtype::f32 ? w.bf16_shadow() : w;
}

}  // namespace fovea
