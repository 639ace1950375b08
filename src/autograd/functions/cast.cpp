// cast: saves nothing; the gradient is cast back.
#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

Tensor converted(const Tensor& x, Dtype dtype) {
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  cast_into(y, x);
  return y;
}

}  // namespace

Tensor cast(const Tensor& x, Dtype dtype) {
  if (x.dtype() == dtype) return x;
  const FunctionScope running("cast");
  const Dtype before = x.dtype();
  return record("cast", converted(x, dtype), {x}, {},
                [before](const Node&, Tensor dy) -> Gradients { return {converted(dy, before)}; });
}

}  // namespace fovea
