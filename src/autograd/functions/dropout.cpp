// dropout: saves the mask, one bit an element.
#include "autograd/functions.hpp"
#include "autograd/functions/random_key.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor dropout(const Tensor& x, double p, std::uint64_t seed, std::uint64_t offset) {
  const FunctionScope running("dropout");
  const DropoutProblem problem{.dtype = x.dtype(), .count = x.numel(), .p = p};
  problem.check();
  if (p == 0) return x;
  const Tensor key = random_key(seed, offset, x.device());
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor mask = Tensor::empty(problem.mask_shape(), Dtype::u8, x.device());
  dispatch(dropout_forward, problem, {x.view(), key.view(), y.view(), mask.view()});
  return record("dropout", y, {x}, {mask}, [problem](const Node& node, Tensor dy) -> Gradients {
    Tensor dx = reuse_or_empty(dy);
    dispatch(dropout_backward, problem, {node.saved_at(0).view(), dy.view(), dx.view()});
    return {dx};
  });
}

}  // namespace fovea
