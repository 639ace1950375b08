// linear: saves its input, its weights and, where ReLU was fused, its output for the mask.
#include "kernels/linear/linear.hpp"

#include "autograd/functions.hpp"
#include "kernels/pointwise/pointwise.hpp"

namespace fovea {

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation) {
  const Shape &xs = x.shape(), &ws = w.shape();
  if (xs.rank() != 2 || ws.rank() != 2) {
    fail("linear: needs x of N,in and w of out,in, got " + to_string(xs) + " and " + to_string(ws));
  }
  const bool relu = activation == Activation::relu;
  LinearProblem p{.dtype = x.dtype(), .relu = relu, .n = xs[0], .in = xs[1], .out = ws[0]};
  p.check();
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, x.device());
  dispatch(linear_forward, p, {x.view(), w.view(), b.view(), y.view()});
  p.relu = 0;
  return record("linear", y, {x, w, b}, {x, w, relu ? y : Tensor{}},
                [p](const Node& node, Tensor dy) -> Gradients {
                  if (const Tensor& out = node.saved_at(2)) {
                    Tensor dz = reuse_or_empty(dy);
                    dispatch(relu_backward, {.dtype = p.dtype, .count = dy.numel()},
                             {out.view(), dy.view(), dz.view()});
                    dy = std::move(dz);
                  }
                  Gradients g(3);
                  if (node.needs(1) || node.needs(2)) {
                    g[1] = Tensor::empty(p.w_shape(), p.dtype, dy.device());
                    if (node.needs(2)) g[2] = Tensor::empty({p.out}, p.dtype, dy.device());
                    dispatch(linear_backward_weights, p,
                             {node.saved_at(0).view(), dy.view(), g[1].view(), g[2].view()});
                  }
                  if (node.needs(0)) {
                    g[0] = Tensor::empty(p.x_shape(), p.dtype, dy.device());
                    dispatch(linear_backward_data, p, {dy.view(), node.saved_at(1).view(), g[0].view()});
                  }
                  return g;
                });
}

}  // namespace fovea
