// cast: saves nothing; the gradient is cast back.
#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor cast(const Tensor& x, Dtype dtype) {
  if (x.dtype() == dtype) return x;
  const FunctionScope running("cast");
  const Dtype before = x.dtype();
  return record("cast", x.to(dtype), {x}, {},
                [before](const Node&, Tensor dy) -> Gradients { return {dy.to(before)}; });
}

}  // namespace fovea
