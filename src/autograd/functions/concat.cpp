// concat: saves nothing; the gradient is cut apart, for the parts that need one.
#include "kernels/concat/concat.hpp"

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

ConcatProblem problem_of(const std::vector<Tensor>& parts) {
  if (parts.empty() || parts.size() > ConcatProblem::max_parts) {
    fail("concat: takes 1 to " + std::to_string(ConcatProblem::max_parts) + " tensors, got " +
         std::to_string(parts.size()));
  }
  const Shape& first = parts[0].shape();
  if (first.rank() == 0) fail("concat: a scalar has no last dimension");
  ConcatProblem p{.dtype = parts[0].dtype(), .rows = 1, .parts = static_cast<std::int64_t>(parts.size())};
  for (int i = 0; i + 1 < first.rank(); ++i) p.rows *= first[i];
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Shape& shape = parts[i].shape();
    if (shape.rank() != first.rank() || with_channels(shape, first[-1]) != first) {
      fail("concat: " + to_string(shape) + " does not fit beside " + to_string(first) +
           ": all but the last dimension must agree");
    }
    p.channels[i] = shape[-1];
  }
  p.check();
  return p;
}

// The ports see rows x channels.
View as_matrix(const Tensor& tensor, std::int64_t rows) {
  return tensor ? with_shape(tensor.view(), {rows, tensor.shape()[-1]}) : View{};
}

}  // namespace

Tensor concat(const std::vector<Tensor>& parts) {
  const FunctionScope running("concat");
  const ConcatProblem p = problem_of(parts);
  const Shape first = parts[0].shape();
  Tensor y = Tensor::empty(with_channels(first, p.total()), p.dtype, parts[0].device());
  std::vector<View> ports;
  for (const Tensor& part : parts) ports.push_back(as_matrix(part, p.rows));
  ports.push_back(as_matrix(y, p.rows));
  dispatch(concat_forward, p, Ports(ports));
  return record("concat", y, parts, {}, [p, first](const Node& node, Tensor dy) -> Gradients {
    Gradients g(node.inputs.size());
    std::vector<View> backward_ports{as_matrix(dy, p.rows)};
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (node.needs(i)) g[i] = Tensor::empty(with_channels(first, p.channels[i]), p.dtype, dy.device());
      backward_ports.push_back(as_matrix(g[i], p.rows));
    }
    dispatch(concat_backward, p, Ports(backward_ports));
    return g;
  });
}

}  // namespace fovea
