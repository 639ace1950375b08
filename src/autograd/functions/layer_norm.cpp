// layer_norm: saves its input, gamma and the two statistics of each row.
#include "kernels/layer_norm/layer_norm.hpp"

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

View as_rows(const Tensor& t, const LayerNormProblem& p) { return with_shape(t.view(), p.x_shape()); }

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  const FunctionScope running("layer_norm");
  if (x.shape().rank() < 1 || x.shape()[-1] < 1) {
    fail("layer_norm: needs x with a last dimension of channels, got " + to_string(x.shape()));
  }
  const std::int64_t channels = x.shape()[-1];
  const LayerNormProblem p{
      .dtype = x.dtype(), .rows = x.numel() / channels, .channels = channels, .eps = eps};
  p.check();
  const Dtype small = param_dtype(p.dtype);
  Tensor y = Tensor::empty(x.shape(), p.dtype, x.device());
  Tensor mean, rstd;
  if (will_record({x, gamma, beta})) {
    mean = Tensor::empty({p.rows}, small, x.device());
    rstd = Tensor::empty({p.rows}, small, x.device());
  }
  dispatch(layer_norm_forward, p,
           {as_rows(x, p), gamma.view(), beta.view(), as_rows(y, p), mean.view(), rstd.view()});
  return record("layer_norm", y, {x, gamma, beta}, {x, gamma, mean, rstd},
                [p, small](const Node& node, Tensor dy) -> Gradients {
                  Gradients g(3);
                  g[0] = reuse_or_empty(dy);
                  g[1] = Tensor::empty({p.channels}, small, dy.device());
                  g[2] = Tensor::empty({p.channels}, small, dy.device());
                  dispatch(layer_norm_backward, p,
                           {as_rows(node.saved_at(0), p), as_rows(dy, p), node.saved_at(1).view(),
                            node.saved_at(2).view(), node.saved_at(3).view(), as_rows(g[0], p), g[1].view(),
                            g[2].view()});
                  return g;
                });
}

}  // namespace fovea
