// cross_entropy: saves the probabilities, the labels and the class weights. softmax: saves its result.
#include "kernels/loss/loss.hpp"

#include <algorithm>

#include "autograd/functions.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options) {
  const FunctionScope running("cross_entropy");
  const Shape& shape = logits.shape();
  if (shape.rank() != 2) fail("cross_entropy: needs logits of N,K, got " + to_string(shape));
  const CrossEntropyProblem p{
      .dtype = logits.dtype(), .n = shape[0], .k = shape[1], .label_smoothing = options.label_smoothing};
  p.check();
  const Device device = logits.device();
  const Dtype dtype = param_dtype(p.dtype);
  const Tensor classes = labels.to(device);
  const Tensor weights = options.class_weights ? options.class_weights.to(dtype).to(device) : Tensor{};
  Tensor loss = Tensor::empty({}, dtype, device);
  const Tensor probabilities = Tensor::empty(shape, dtype, device);
  dispatch(softmax_cross_entropy_forward, p,
           {logits.view(), classes.view(), weights.view(), loss.view(), probabilities.view()});
  return record("cross_entropy", loss, {logits}, {probabilities, classes, weights},
                [p](const Node& node, Tensor dy) -> Gradients {
                  Tensor dlogits = Tensor::empty({p.n, p.k}, p.dtype, dy.device());
                  dispatch(softmax_cross_entropy_backward, p,
                           {node.saved_at(0).view(), node.saved_at(1).view(), node.saved_at(2).view(),
                            dy.view(), dlogits.view()});
                  return {dlogits};
                });
}

Tensor softmax(const Tensor& x) {
  const FunctionScope running("softmax");
  const Shape shape = x.shape();
  if (shape.rank() < 1) fail("softmax: needs at least one dimension, got " + to_string(shape));
  const SoftmaxProblem p{
      .dtype = x.dtype(), .n = x.numel() / std::max<std::int64_t>(shape[-1], 1), .k = shape[-1]};
  const auto rows = [p](const View& view) { return with_shape(view, {p.n, p.k}); };
  Tensor y = Tensor::empty(shape, p.dtype, x.device());
  dispatch(softmax_forward, p, {rows(x.view()), rows(y.view())});
  return record("softmax", y, {x}, {y.detach()}, [p, rows, shape](const Node& node, Tensor dy) -> Gradients {
    Tensor dx = Tensor::empty(shape, p.dtype, dy.device());
    dispatch(softmax_backward, p, {rows(node.saved_at(0).view()), rows(dy.view()), rows(dx.view())});
    return {dx};
  });
}

}  // namespace fovea
