// conv2d: saves its input, its filters and, where ReLU was fused, its output for the mask.
#include "kernels/conv2d/conv2d.hpp"

#include "autograd/functions.hpp"
#include "kernels/pointwise/pointwise.hpp"

namespace fovea {

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& o) {
  const Shape &xs = x.shape(), &ws = w.shape();
  if (xs.rank() != 4 || ws.rank() != 4) {
    fail("conv2d: needs x of N,H,W,C and w of K,R,S,C/groups, got " + to_string(xs) + " and " +
         to_string(ws));
  }
  const bool relu = o.activation == Activation::relu;
  Conv2dProblem p{.dtype = x.dtype(),
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
                  .groups = o.groups};
  p.check();
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, x.device());
  dispatch(conv2d_forward, p, {x.view(), w.view(), b.view(), y.view()});
  p.relu = 0;
  return record("conv2d", y, {x, w, b}, {x, w, relu ? y : Tensor{}},
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
                    if (node.needs(2)) g[2] = Tensor::empty({p.k}, p.dtype, dy.device());
                    dispatch(conv2d_backward_weights, p,
                             {node.saved_at(0).view(), dy.view(), g[1].view(), g[2].view()});
                  }
                  if (node.needs(0)) {
                    g[0] = Tensor::empty(p.x_shape(), p.dtype, dy.device());
                    dispatch(conv2d_backward_data, p, {dy.view(), node.saved_at(1).view(), g[0].view()});
                  }
                  return g;
                });
}

}  // namespace fovea
