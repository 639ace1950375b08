// The backward that conv2d and linear share: y = act(x * w + b), with x, w and, where ReLU was fused, y saved.
#pragma once

#include <utility>

#include "autograd/engine.hpp"
#include "autograd/functions/filters.hpp"
#include "autograd/functions/into.hpp"
#include "kernels/pointwise/pointwise.hpp"

namespace fovea {

/// Records y. P has dtype, relu, x_shape() and w_shape(), under which the ports see x, w and their gradients;
/// `backward_weights` takes x, dy, dw, db and `backward_data` takes dy, w, dx. Both get the gradient before the
/// activation. Where y was written `into` an image, its channels are cut out of the image and of the image's gradient.
template <class P>
Tensor record_affine(const char* name, const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& b,
                     P problem, const PrimitiveOf<P>& backward_data, const PrimitiveOf<P>& backward_weights,
                     const Into& into = {}) {
  const bool relu = std::exchange(problem.relu, 0) != 0;
  const ChannelSlice slice = slice_of(into);
  if constexpr (requires { problem.y_slice; }) problem.y_slice = {};
  return record_into(name, into, y, {x, w, b}, {x, filters_for(x, w), relu ? Saved::of_channels(y) : Saved{}},
                     [problem, slice, xs = x.shape(), ws = w.shape(), &backward_data, &backward_weights](
                         const Node& node, Tensor dy) -> Gradients {
                       if (!slice.is_whole()) dy = cut(dy, slice, ws[0]);
                       if (node.saved_at(2)) {
                         const Tensor out = cut(node.saved_at(2), slice, ws[0]);
                         Tensor dz = reuse_or_empty(dy);
                         dispatch(relu_backward, {.dtype = problem.dtype, .count = dy.numel()},
                                  {out.view(), dy.view(), dz.view()});
                         dy = std::move(dz);
                       }
                       Gradients g(3);
                       if (node.needs(1) || node.needs(2)) {
                         const Dtype dtype = param_dtype(problem.dtype);
                         g[1] = Tensor::empty(ws, dtype, dy.device());
                         if (node.needs(2)) g[2] = Tensor::empty({ws[0]}, dtype, dy.device());
                         dispatch(backward_weights, problem,
                                  {with_shape(node.saved_at(0).view(), problem.x_shape()), dy.view(),
                                   with_shape(g[1].view(), problem.w_shape()), g[2].view()});
                       }
                       if (node.needs(0)) {
                         g[0] = Tensor::empty(xs, problem.dtype, dy.device());
                         dispatch(backward_data, problem,
                                  {dy.view(), with_shape(node.saved_at(1).view(), problem.w_shape()),
                                   with_shape(g[0].view(), problem.x_shape())});
                       }
                       return g;
                     });
}

}  // namespace fovea
