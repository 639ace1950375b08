// mlrm: saves its input and filters, in training each branch's convolution output and batch statistics; with
// running statistics backward convolves again, so nothing image-sized but x is kept.
#include "kernels/mlrm/mlrm.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/filters.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

MlrmProblem problem_of(const Tensor& x, const std::vector<MlrmBranch>& branches, const MlrmOptions& o) {
  const Shape& xs = x.shape();
  if (xs.rank() != 4) fail("mlrm: needs x of N,H,W,C, got " + to_string(xs));
  if (branches.empty() || branches.size() > static_cast<std::size_t>(MlrmProblem::max_branches)) {
    fail("mlrm: needs one to four branches, got " + std::to_string(branches.size()));
  }
  MlrmProblem p{.dtype = x.dtype(),
                .branches = static_cast<std::int32_t>(branches.size()),
                .n = xs[0],
                .h = xs[1],
                .w = xs[2],
                .c = xs[3],
                .eps = o.eps,
                .momentum = o.momentum};
  for (std::size_t b = 0; b < branches.size(); ++b) p.dilations[b] = branches[b].dilation;
  o.training ? p.check_training() : p.check();
  return p;
}

// Node inputs are x, then w, gamma, beta per branch; saved are x, then `per_branch` tensors per branch, in
// the order of the backward's ports.
Gradients backward(const PrimitiveOf<MlrmProblem>& primitive, const MlrmProblem& p, const Node& node,
                   const Tensor& dy) {
  const auto empty = [&](const Shape& shape) {
    return Tensor::empty(shape, param_dtype(p.dtype), dy.device());
  };
  Gradients g(node.inputs.size());
  if (node.needs(0)) g[0] = Tensor::empty(p.x_shape(), p.dtype, dy.device());
  for (std::size_t i = 1; i < g.size(); i += 3) {
    if (node.needs(i)) g[i] = empty(p.w_shape());
    g[i + 1] = empty({p.c});
    g[i + 2] = empty({p.c});
  }
  std::vector<View> ports{node.saved_at(0).view(), dy.view()};
  for (std::size_t i = 1; i < node.saved.size(); ++i) ports.push_back(node.saved_at(i).view());
  for (const Tensor& gradient : g) ports.push_back(gradient.view());
  dispatch(primitive, p, Ports(ports));
  return g;
}

}  // namespace

Tensor mlrm(const Tensor& x, const std::vector<MlrmBranch>& branches, const MlrmOptions& o) {
  const FunctionScope running("mlrm");
  const MlrmProblem p = problem_of(x, branches, o);
  const auto image = [&] { return Tensor::empty(p.x_shape(), p.dtype, x.device()); };
  const auto channels = [&] { return Tensor::empty({p.c}, param_dtype(p.dtype), x.device()); };
  Tensor y = image();
  std::vector<View> ports{x.view()}, outputs{y.view()};
  std::vector<Tensor> inputs{x};
  std::vector<Saved> saved{x};
  for (const MlrmBranch& b : branches) {
    inputs.insert(inputs.end(), {b.weight, b.gamma, b.beta});
    const Tensor weight = filters_for(x, b.weight);
    ports.insert(ports.end(),
                 {weight.view(), b.gamma.view(), b.beta.view(), b.running_mean.view(), b.running_var.view()});
    if (o.training) {
      const Tensor z = image(), mean = channels(), invstd = channels();
      outputs.insert(outputs.end(), {z.view(), mean.view(), invstd.view()});
      saved.insert(saved.end(), {weight, b.gamma, b.beta, z, mean, invstd});
    } else {
      saved.insert(saved.end(), {weight, b.gamma, b.beta, b.running_mean, b.running_var});
    }
  }
  ports.insert(ports.end(), outputs.begin(), outputs.end());
  dispatch(o.training ? mlrm_forward_training : mlrm_forward_inference, p, Ports(ports));
  const bool training = o.training;
  if (training) {
    for (const MlrmBranch& b : branches) {
      ++b.running_mean.storage()->version;
      ++b.running_var.storage()->version;
    }
  }
  return record("mlrm", y, inputs, std::move(saved), [p, training](const Node& node, Tensor dy) -> Gradients {
    return backward(training ? mlrm_backward : mlrm_backward_inference, p, node, dy);
  });
}

}  // namespace fovea
