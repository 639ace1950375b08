// scale_residual: saves the branch, gamma and the key of the random numbers; the trunk's gradient is dy itself.
#include "autograd/functions.hpp"
#include "autograd/functions/random_key.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

ScaleResidualProblem problem_of(const Tensor& x, const Tensor& f, const Tensor& gamma, double p) {
  const Shape& s = x.shape();
  if (s.rank() < 2 || f.shape() != s || gamma.numel() != s[-1]) {
    fail(
        "scale_residual: needs x and f of one shape, at least samples x channels, and a gamma for each "
        "channel, got " +
        to_string(s) + ", " + to_string(f.shape()) + " and " + to_string(gamma.shape()));
  }
  ScaleResidualProblem problem{.dtype = x.dtype(), .samples = s[0], .channels = s[-1], .p = p};
  for (int i = 1; i + 1 < s.rank(); ++i) problem.rows *= s[i];
  problem.check();
  return problem;
}

}  // namespace

Tensor scale_residual(const Tensor& x, const Tensor& f, const Tensor& gamma, double p, std::uint64_t seed,
                      std::uint64_t offset) {
  const FunctionScope running("scale_residual");
  const ScaleResidualProblem problem = problem_of(x, f, gamma, p);
  const Shape rows = problem.x_shape(), channels{problem.channels};
  const Tensor key = p > 0 ? random_key(seed, offset, x.device()) : Tensor{};
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  dispatch(scale_residual_forward, problem,
           {with_shape(x.view(), rows), with_shape(f.view(), rows), with_shape(gamma.view(), channels),
            key.view(), with_shape(y.view(), rows)});
  return record("scale_residual", y, {x, f, gamma}, {f, gamma, key},
                [problem, rows, channels](const Node& node, Tensor dy) -> Gradients {
                  Gradients g(3);
                  const Tensor &saved_f = node.saved_at(0), &saved_gamma = node.saved_at(1);
                  if (node.needs(1) || node.needs(2)) {
                    g[1] = Tensor::empty(dy.shape(), problem.dtype, dy.device());
                    g[2] = Tensor::empty(saved_gamma.shape(), param_dtype(problem.dtype), dy.device());
                    dispatch(scale_residual_backward, problem,
                             {with_shape(saved_f.view(), rows), with_shape(saved_gamma.view(), channels),
                              node.saved_at(2).view(), with_shape(dy.view(), rows),
                              with_shape(g[1].view(), rows), with_shape(g[2].view(), channels)});
                  }
                  if (node.needs(0)) g[0] = dy;
                  return g;
                });
}

}  // namespace fovea
