// relu, sigmoid, gelu, add, multiply, reshape. ReLU and sigmoid save their output, from which the gradient follows, GELU
// its input; add saves nothing.
#include "kernels/pointwise/pointwise.hpp"

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

enum class Saves : std::uint8_t { input, output };

// A function whose backward takes what it saves and dy.
Tensor unary(const char* name, const PrimitiveOf<PointwiseProblem>& forward,
             const PrimitiveOf<PointwiseProblem>& backward, const Tensor& x, Saves saves = Saves::output) {
  const FunctionScope running(name);
  const PointwiseProblem p{.dtype = x.dtype(), .count = x.numel()};
  Tensor y = Tensor::empty(x.shape(), p.dtype, x.device());
  dispatch(forward, p, {x.view(), y.view()});
  return record(name, y, {x}, {saves == Saves::input ? x : y},
                [p, &backward](const Node& node, Tensor dy) -> Gradients {
                  Tensor dx = reuse_or_empty(dy);
                  dispatch(backward, p, {node.saved_at(0).view(), dy.view(), dx.view()});
                  return {dx};
                });
}

Tensor binary(const PrimitiveOf<BroadcastProblem>& forward, const BroadcastProblem& p, const Tensor& a,
              const Tensor& b) {
  p.check();
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, a.device());
  dispatch(forward, p, {a.view(), b.view(), y.view()});
  return y;
}

}  // namespace

Tensor relu(const Tensor& x) { return unary("relu", relu_forward, relu_backward, x); }

Tensor sigmoid(const Tensor& x) { return unary("sigmoid", sigmoid_forward, sigmoid_backward, x); }

Tensor gelu(const Tensor& x) { return unary("gelu", gelu_forward, gelu_backward, x, Saves::input); }

Tensor add(const Tensor& a, const Tensor& b) {
  const FunctionScope running("add");
  const BroadcastProblem p{.dtype = a.dtype(), .a = a.shape(), .b = b.shape()};
  return record("add", binary(add_forward, p, a, b), {a, b}, {},
                [p](const Node& node, Tensor dy) -> Gradients {
                  Gradients g(2);
                  const Shape shapes[2] = {p.a, p.b};
                  Tensor summed[2];  // an operand of y's shape gets dy itself
                  for (std::size_t i = 0; i < 2; ++i) {
                    if (!node.needs(i)) continue;
                    if (shapes[i] != dy.shape()) summed[i] = Tensor::empty(shapes[i], p.dtype, dy.device());
                    g[i] = summed[i] ? summed[i] : dy;
                  }
                  if (summed[0] || summed[1]) {
                    dispatch(add_backward, p, {dy.view(), summed[0].view(), summed[1].view()});
                  }
                  return g;
                });
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  const FunctionScope running("multiply");
  const BroadcastProblem p{.dtype = a.dtype(), .a = a.shape(), .b = b.shape()};
  return record(
      "multiply", binary(multiply_forward, p, a, b), {a, b}, {a, b},
      [p](const Node& node, Tensor dy) -> Gradients {
        Gradients g(2);
        if (node.needs(0)) g[0] = Tensor::empty(p.a, p.dtype, dy.device());
        if (node.needs(1)) g[1] = Tensor::empty(p.b, p.dtype, dy.device());
        dispatch(multiply_backward, p,
                 {node.saved_at(0).view(), node.saved_at(1).view(), dy.view(), g[0].view(), g[1].view()});
        return g;
      });
}

Tensor reshape(const Tensor& x, const Shape& shape) {
  const Shape before = x.shape();
  return record("reshape", alias(x, shape), {x}, {},
                [before](const Node&, Tensor dy) -> Gradients { return {alias(dy, before)}; });
}

}  // namespace fovea
