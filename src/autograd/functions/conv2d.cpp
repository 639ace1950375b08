// conv2d: saves its input, its filters and, where ReLU was fused, its output for the mask.
#include "kernels/conv2d/conv2d.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/affine.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& o, const Into& into) {
  const FunctionScope running("conv2d");
  const Shape &xs = x.shape(), &ws = w.shape();
  if (xs.rank() != 4 || ws.rank() != 4) {
    fail("conv2d: needs x of N,H,W,C and w of K,R,S,C/groups, got " + to_string(xs) + " and " +
         to_string(ws));
  }
  const bool relu = o.activation == Activation::relu;
  const Conv2dProblem p{.dtype = x.dtype(),
                        .relu = relu,
                        .n = xs[0],
                        .h = xs[1],
                        .w = xs[2],
                        .c = xs[3],
                        .k = ws[0],
                        .r = ws[1],
                        .s = ws[2],
                        .stride_h = o.stride_h,
                        .stride_w = o.stride_w,
                        .pad_h = o.pad_h,
                        .pad_w = o.pad_w,
                        .dilation_h = o.dilation_h,
                        .dilation_w = o.dilation_w,
                        .groups = o.groups,
                        .y_slice = slice_of(into)};
  p.check();
  Tensor y = result_of(into, p.y_shape(), p.dtype, x.device());
  dispatch(conv2d_forward, p, {x.view(), filters_for(x, w).view(), b.view(), y.view()});
  return record_affine("conv2d", y, x, w, b, p, conv2d_backward_data, conv2d_backward_weights, into);
}

}  // namespace fovea
