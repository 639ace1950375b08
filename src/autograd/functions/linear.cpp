// linear: saves its input, its weights and, where ReLU was fused, its output for the mask.
#include "kernels/linear/linear.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/affine.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation) {
  const FunctionScope running("linear");
  const Shape &xs = x.shape(), &ws = w.shape();
  if (xs.rank() != 2 || ws.rank() != 2) {
    fail("linear: needs x of N,in and w of out,in, got " + to_string(xs) + " and " + to_string(ws));
  }
  const bool relu = activation == Activation::relu;
  const LinearProblem p{.dtype = x.dtype(), .relu = relu, .n = xs[0], .in = xs[1], .out = ws[0]};
  p.check();
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, x.device());
  dispatch(linear_forward, p, {x.view(), filters_for(x, w).view(), b.view(), y.view()});
  return record_affine("linear", y, x, w, b, p, linear_backward_data, linear_backward_weights);
}

}  // namespace fovea
