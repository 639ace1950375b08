// batch_norm: saves its input and the per-channel tensors, not its output; the ReLU's mask is recomputed from
// x.
#include "kernels/norm/norm.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/into.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

View x_rows(const Tensor& t, const BatchNormProblem& p) { return with_shape(t.view(), p.x_shape()); }
View y_rows(const Tensor& t, const BatchNormProblem& p) { return with_shape(t.view(), p.y_shape()); }

BatchNormProblem problem_of(const Tensor& x, const BatchNormOptions& o, const Into& into) {
  if (x.shape().rank() < 2) {
    fail("batch_norm: needs x of at least two dimensions, the last of channels, got " + to_string(x.shape()));
  }
  const std::int64_t total = x.shape()[-1];
  const bool all = o.first_channels == 0 || o.first_channels == total;
  return {.dtype = x.dtype(),
          .relu = o.activation == Activation::relu,
          .rows = total == 0 ? 0 : x.numel() / total,
          .channels = all ? total : o.first_channels,
          .eps = o.eps,
          .momentum = o.momentum,
          .x_slice = {.begin = 0, .total = all ? 0 : total},
          .y_slice = slice_of(into)};
}

// Where dx goes. That of a slice is added to what other readers of the image have made, or to zeros: channels that were
// not read get no gradient.
Tensor room_for_dx(const Node& node, const Tensor& dy, BatchNormProblem& p) {
  if (p.x_slice.is_whole()) {
    return p.y_slice.is_whole() ? reuse_or_empty(dy)
                                : Tensor::empty(with_channels(dy.shape(), p.channels), p.dtype, dy.device());
  }
  if (Tensor sum = node.take_pending(0)) {
    p.accumulate = 1;
    return sum;
  }
  return Tensor::zeros(with_channels(dy.shape(), p.x_slice.total), p.dtype, dy.device());
}

// Of both modes: only the primitive and the meaning of the two saved statistics differ.
Tensor record_batch_norm(const BatchNormProblem& problem, const PrimitiveOf<BatchNormProblem>& backward,
                         const Into& into, const Tensor& y, const Tensor& x, const Tensor& gamma,
                         const Tensor& beta, const Tensor& centre, const Tensor& spread) {
  const Saved input = problem.x_slice.is_whole() ? Saved(x) : Saved::of_channels(x);
  return record_into("batch_norm", into, y, {x, gamma, beta}, {input, gamma, beta, centre, spread},
                     [problem, &backward](const Node& node, const Tensor& dy) -> Gradients {
                       BatchNormProblem p = problem;
                       Gradients g(3);
                       g[0] = room_for_dx(node, dy, p);
                       g[1] = Tensor::empty({p.channels}, param_dtype(p.dtype), dy.device());
                       g[2] = Tensor::empty({p.channels}, param_dtype(p.dtype), dy.device());
                       dispatch(backward, p,
                                {x_rows(node.saved_at(0), p), y_rows(dy, p), node.saved_at(1).view(),
                                 node.saved_at(2).view(), node.saved_at(3).view(), node.saved_at(4).view(),
                                 x_rows(g[0], p), g[1].view(), g[2].view()});
                       return g;
                     });
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean,
                  Tensor running_var, const BatchNormOptions& o, const Into& into) {
  const FunctionScope running("batch_norm");
  const BatchNormProblem p = problem_of(x, o, into);
  p.check();
  Tensor y = result_of(into, with_channels(x.shape(), p.channels), p.dtype, x.device());
  if (!o.training) {
    dispatch(
        batch_norm_forward_inference, p,
        {x_rows(x, p), gamma.view(), beta.view(), running_mean.view(), running_var.view(), y_rows(y, p)});
    return record_batch_norm(p, batch_norm_backward_inference, into, y, x, gamma, beta, running_mean,
                             running_var);
  }
  const Tensor mean = Tensor::empty({p.channels}, param_dtype(p.dtype), x.device());
  const Tensor invstd = Tensor::empty({p.channels}, param_dtype(p.dtype), x.device());
  dispatch(batch_norm_forward_training, p,
           {x_rows(x, p), gamma.view(), beta.view(), running_mean.view(), running_var.view(), y_rows(y, p),
            mean.view(), invstd.view()});
  ++running_mean.storage()->version;
  ++running_var.storage()->version;
  return record_batch_norm(p, batch_norm_backward, into, y, x, gamma, beta, mean, invstd);
}

}  // namespace fovea
