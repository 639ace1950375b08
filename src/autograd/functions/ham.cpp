// ham: saves its input and the small tensors that the forward made on its way (the gates, the channel means
// and the hidden units); the gated output is not kept.
#include "kernels/ham/ham.hpp"

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor ham(const Tensor& x, const HamParameters& q, HamVariant variant) {
  const FunctionScope running("ham");
  const Shape& xs = x.shape();
  if (xs.rank() != 4 || q.fc1_weight.shape().rank() != 2) {
    fail("ham: needs x of N,H,W,C and fc1.weight of hidden,C, got " + to_string(xs) + " and " +
         to_string(q.fc1_weight.shape()));
  }
  const HamProblem p{.dtype = x.dtype(),
                     .scse = variant == HamVariant::scse,
                     .n = xs[0],
                     .h = xs[1],
                     .w = xs[2],
                     .c = xs[3],
                     .hidden = q.fc1_weight.shape()[0]};
  p.check();
  const auto empty = [&](const Shape& shape) { return Tensor::empty(shape, p.param_dtype(), x.device()); };
  Tensor y = Tensor::empty(p.x_shape(), p.dtype, x.device()), s = empty({p.n, p.h, p.w}),
         a = empty({p.n, p.c}), z = empty({p.n, p.hidden}), wgt = empty({p.n, p.c});
  dispatch(ham_forward, p,
           {x.view(), q.spatial_weight.view(), q.spatial_bias.view(), q.fc1_weight.view(), q.fc1_bias.view(),
            q.fc2_weight.view(), q.fc2_bias.view(), y.view(), s.view(), a.view(), z.view(), wgt.view()});
  return record("ham", y,
                {x, q.spatial_weight, q.spatial_bias, q.fc1_weight, q.fc1_bias, q.fc2_weight, q.fc2_bias},
                {x, q.spatial_weight, q.fc1_weight, q.fc2_weight, s, a, z, wgt},
                [p](const Node& node, Tensor dy) -> Gradients {
                  const auto empty_like = [&](const Shape& shape) {
                    return Tensor::empty(shape, p.param_dtype(), dy.device());
                  };
                  Gradients g{Tensor::empty(p.x_shape(), p.dtype, dy.device()),
                              empty_like({p.c}),
                              empty_like({1}),
                              empty_like({p.hidden, p.c}),
                              empty_like({p.hidden}),
                              empty_like({p.c, p.hidden}),
                              empty_like({p.c})};
                  std::vector<View> ports{node.saved_at(0).view(), dy.view()};
                  for (std::size_t i = 1; i < 8; ++i) ports.push_back(node.saved_at(i).view());
                  for (const Tensor& gradient : g) ports.push_back(gradient.view());
                  dispatch(ham_backward, p, Ports(ports));
                  return g;
                });
}

}  // namespace fovea
