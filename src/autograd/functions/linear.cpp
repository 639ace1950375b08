// linear: saves its input, its weights and, where ReLU was fused, its output for the mask. Images and their weights
// are matrices to the primitives alone: the tensors keep their shapes, so that the weight here is the parameter itself,
// with the bf16 copy that the optimizer writes.
#include "kernels/linear/linear.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/affine.hpp"
#include "autograd/functions/matrix.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

void check_shapes(const Shape& x, const Shape& w) {
  const bool images = x.rank() == 4 && w.rank() == 4;
  if ((images && x[1] == w[1] && x[2] == w[2] && x[3] == w[3]) || (x.rank() == 2 && w.rank() == 2)) return;
  fail("linear: needs x of N,in and w of out,in, or x of N,H,W,C and w of out,H,W,C, got " + to_string(x) +
       " and " + to_string(w));
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation) {
  const FunctionScope running("linear");
  check_shapes(x.shape(), w.shape());
  const Shape xs = matrix_shape(x.shape()), ws = matrix_shape(w.shape());
  const bool relu = activation == Activation::relu;
  const LinearProblem p{.dtype = x.dtype(), .relu = relu, .n = xs[0], .in = xs[1], .out = ws[0]};
  p.check();
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, x.device());
  dispatch(linear_forward, p,
           {with_shape(x.view(), xs), with_shape(filters_for(x, w).view(), ws), b.view(), y.view()});
  return record_affine("linear", y, x, w, b, p, linear_backward_data, linear_backward_weights);
}

}  // namespace fovea
