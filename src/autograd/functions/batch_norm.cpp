// batch_norm: saves its input and the per-channel tensors, not its output; the ReLU's mask is recomputed from
// x.
#include "kernels/norm/norm.hpp"

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

View as_rows(const Tensor& t, const BatchNormProblem& p) {
  View view = t.view();
  view.shape = p.x_shape();
  return view;
}

BatchNormProblem problem_of(const Tensor& x, const BatchNormOptions& o) {
  if (x.shape().rank() < 2) {
    fail("batch_norm: needs x of at least two dimensions, the last of channels, got " + to_string(x.shape()));
  }
  const std::int64_t channels = x.shape()[-1];
  return {.dtype = x.dtype(),
          .relu = o.activation == Activation::relu,
          .rows = channels == 0 ? 0 : x.numel() / channels,
          .channels = channels,
          .eps = o.eps,
          .momentum = o.momentum};
}

// Of both modes: only the primitive and the meaning of the two saved statistics differ.
Tensor record_batch_norm(const BatchNormProblem& p, const PrimitiveOf<BatchNormProblem>& backward,
                         const Tensor& y, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                         const Tensor& centre, const Tensor& spread) {
  return record("batch_norm", y, {x, gamma, beta}, {x, gamma, beta, centre, spread},
                [p, &backward](const Node& node, Tensor dy) -> Gradients {
                  Gradients g(3);
                  g[0] = reuse_or_empty(dy);
                  g[1] = Tensor::empty({p.channels}, param_dtype(p.dtype), dy.device());
                  g[2] = Tensor::empty({p.channels}, param_dtype(p.dtype), dy.device());
                  dispatch(backward, p,
                           {as_rows(node.saved_at(0), p), as_rows(dy, p), node.saved_at(1).view(),
                            node.saved_at(2).view(), node.saved_at(3).view(), node.saved_at(4).view(),
                            as_rows(g[0], p), g[1].view(), g[2].view()});
                  return g;
                });
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean,
                  Tensor running_var, const BatchNormOptions& o) {
  const FunctionScope running("batch_norm");
  const BatchNormProblem p = problem_of(x, o);
  Tensor y = Tensor::empty(x.shape(), p.dtype, x.device());
  if (!o.training) {
    dispatch(
        batch_norm_forward_inference, p,
        {as_rows(x, p), gamma.view(), beta.view(), running_mean.view(), running_var.view(), as_rows(y, p)});
    return record_batch_norm(p, batch_norm_backward_inference, y, x, gamma, beta, running_mean, running_var);
  }
  const Tensor mean = Tensor::empty({p.channels}, param_dtype(p.dtype), x.device());
  const Tensor invstd = Tensor::empty({p.channels}, param_dtype(p.dtype), x.device());
  dispatch(batch_norm_forward_training, p,
           {as_rows(x, p), gamma.view(), beta.view(), running_mean.view(), running_var.view(), as_rows(y, p),
            mean.view(), invstd.view()});
  ++running_mean.storage()->version;
  ++running_var.storage()->version;
  return record_batch_norm(p, batch_norm_backward, y, x, gamma, beta, mean, invstd);
}

}  // namespace fovea
