// head: saves the weights and the small tensors between its layers; of m and r only the shapes matter.
#include "kernels/head/head.hpp"

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor head(const Tensor& m, const Tensor& r, const HeadParameters& q) {
  const FunctionScope running("head");
  const Shape &ms = m.shape(), &rs = r.shape(), &f1 = q.fc1_weight.shape(), &f2 = q.fc2_weight.shape();
  if (ms.rank() != 4 || rs.rank() != 4 || f1.rank() != 2 || f2.rank() != 2) {
    fail("head: needs m and r of N,H,W,C, fc1.weight of hidden,C and fc2.weight of classes,hidden, got " +
         to_string(ms) + ", " + to_string(rs) + ", " + to_string(f1) + " and " + to_string(f2));
  }
  const HeadProblem p{.dtype = m.dtype(),
                      .n = ms[0],
                      .c = ms[3],
                      .m_h = ms[1],
                      .m_w = ms[2],
                      .r_h = rs[1],
                      .r_w = rs[2],
                      .hidden = f1[0],
                      .classes = f2[0]};
  p.check();
  const auto empty = [&](const Shape& shape) {
    return Tensor::empty(shape, param_dtype(p.dtype), m.device());
  };
  Tensor logits = empty({p.n, p.classes}), pooled = empty({p.n, p.c}), f = empty({p.n, p.c}),
         hid = empty({p.n, p.hidden});
  dispatch(head_forward, p,
           {m.view(), r.view(), q.shortcut_weight.view(), q.shortcut_bias.view(), q.fc1_weight.view(),
            q.fc1_bias.view(), q.fc2_weight.view(), q.fc2_bias.view(), logits.view(), pooled.view(), f.view(),
            hid.view()});
  return record(
      "head", logits,
      {m, r, q.shortcut_weight, q.shortcut_bias, q.fc1_weight, q.fc1_bias, q.fc2_weight, q.fc2_bias},
      {q.shortcut_weight, q.fc1_weight, q.fc2_weight, pooled, f, hid},
      [p](const Node& node, Tensor dy) -> Gradients {
        const auto empty_like = [&](const Shape& shape) {
          return Tensor::empty(shape, param_dtype(p.dtype), dy.device());
        };
        Gradients g{node.needs(0) ? Tensor::empty(p.m_shape(), p.dtype, dy.device()) : Tensor{},
                    node.needs(1) ? Tensor::empty(p.r_shape(), p.dtype, dy.device()) : Tensor{},
                    empty_like({p.c, p.c}),
                    empty_like({p.c}),
                    empty_like({p.hidden, p.c}),
                    empty_like({p.hidden}),
                    empty_like({p.classes, p.hidden}),
                    empty_like({p.classes})};
        std::vector<View> ports{dy.view()};
        for (std::size_t i = 0; i < 6; ++i) ports.push_back(node.saved_at(i).view());
        for (const Tensor& gradient : g) ports.push_back(gradient.view());
        dispatch(head_backward, p, Ports(ports));
        return g;
      });
}

}  // namespace fovea
