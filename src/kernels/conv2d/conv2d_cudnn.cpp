// conv2d by cuDNN's graph API, in f32 and bf16: forward with bias and ReLU in the epilogue. Of a bf16 problem, images and
// filters are bf16 and the gradients of the parameters f32, which cuDNN's plain weight gradient does not offer for bf16
// and its fused one does: so it is multiplied by one on the way out. Where the fused one cannot (channels that 8 does not
// divide), the plain one writes bf16, which is widened after.
#include "kernels/conv2d/kernels.hpp"
#include "kernels/cuda/common_graphs.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/runtime/storage.hpp"

namespace fovea {
namespace {

GraphShape x_of(const Conv2dProblem& p) { return {p.n, p.c, p.h, p.w}; }
GraphShape y_of(const Conv2dProblem& p) { return {p.n, p.k, p.out_h(), p.out_w()}; }
GraphShape w_of(const Conv2dProblem& p) { return {p.k, p.c / p.groups, p.r, p.s}; }

GraphWindow window_of(const Conv2dProblem& p) {
  return {.window = {1, 1},
          .stride = {p.stride_h, p.stride_w},
          .pad = {p.pad_h, p.pad_w},
          .dilation = {p.dilation_h, p.dilation_w}};
}

GraphSpec forward_graph(const Conv2dProblem& p, bool bias) {
  GraphSpec g(conv2d_forward.name, conv2d_forward.cost(&p));
  g.input("x", p.dtype, x_of(p));
  g.input("w", p.dtype, w_of(p));
  if (bias) g.input("b", param_dtype(p.dtype), per_channel(p.k));
  const bool relu = p.relu != 0;
  g.windowed(GraphOp::convolution, {"x", "w"}, bias || relu ? "t" : "y", window_of(p));
  if (bias) g.pointwise(GraphOp::add, {"t", "b"}, relu ? "u" : "y");
  if (relu) g.pointwise(GraphOp::relu, {bias ? "u" : "t"}, "y");
  g.output("y", p.dtype, y_of(p));
  return g;
}

GraphSpec data_graph(const Conv2dProblem& p) {
  GraphSpec g(conv2d_backward_data.name, conv2d_backward_data.cost(&p));
  g.input("dy", p.dtype, y_of(p));
  g.input("w", p.dtype, w_of(p));
  g.windowed(GraphOp::convolution_data, {"dy", "w"}, "dx", window_of(p));
  g.output("dx", p.dtype, x_of(p));
  return g;
}

GraphSpec weights_graph(const Conv2dProblem& p) {
  GraphSpec g(conv2d_backward_weights.name, conv2d_backward_weights.cost(&p));
  g.input("dy", p.dtype, y_of(p));
  g.input("x", p.dtype, x_of(p));
  if (p.dtype == Dtype::bf16) {
    g.constant("one", 1);
    g.windowed(GraphOp::convolution_weights, {"dy", "x"}, "t", window_of(p));
    g.inner("t", w_of(p));
    g.pointwise(GraphOp::multiply, {"t", "one"}, "dw");
  } else {
    g.windowed(GraphOp::convolution_weights, {"dy", "x"}, "dw", window_of(p));
  }
  g.output("dw", param_dtype(p.dtype), w_of(p));
  return g;
}

GraphSpec plain_weights_graph(const Conv2dProblem& p) {
  GraphSpec g(conv2d_backward_weights.name, conv2d_backward_weights.cost(&p));
  g.input("dy", p.dtype, y_of(p));
  g.input("x", p.dtype, x_of(p));
  g.windowed(GraphOp::convolution_weights, {"dy", "x"}, "dw", window_of(p));
  g.output("dw", p.dtype, w_of(p));
  return g;
}

using Key = std::array<std::int64_t, 17>;
Key key_of(const Conv2dProblem& p, bool bias) {
  return {static_cast<std::int64_t>(p.dtype),
          p.relu,
          p.n,
          p.h,
          p.w,
          p.c,
          p.k,
          p.r,
          p.s,
          p.stride_h,
          p.stride_w,
          p.pad_h,
          p.pad_w,
          p.dilation_h,
          p.dilation_w,
          p.groups,
          bias};
}

library::Operation& forward(const Conv2dProblem& p, bool bias) {
  static library::Memo<17> memo;
  return memo.get(key_of(p, bias), [&] { return forward_graph(p, bias); });
}
library::Operation& data(const Conv2dProblem& p) {
  static library::Memo<17> memo;
  return memo.get(key_of(p, false), [&] { return data_graph(p); });
}
library::Operation& weights(const Conv2dProblem& p) {
  static library::Memo<17> memo;
  return memo.get(key_of(p, false), [&] { return weights_graph(p); });
}
library::Operation& plain_weights(const Conv2dProblem& p) {
  static library::Memo<17> memo;
  return memo.get(key_of(p, false), [&] { return plain_weights_graph(p); });
}
library::Operation& widening(const Conv2dProblem& p) {
  static library::Memo<17> memo;
  return memo.get(key_of(p, false), [&] {
    return graphs::cast(conv2d_backward_weights.name, p.dtype, param_dtype(p.dtype), p.w_shape().numel());
  });
}
library::Operation& bias_gradient(const Conv2dProblem& p) {
  static library::Memo<17> memo;
  return memo.get(key_of(p, true),
                  [&] { return graphs::channel_sum(conv2d_backward_weights.name, p.dtype, y_of(p)); });
}

}  // namespace

bool conv2d_forward_cudnn_supports(const Conv2dProblem& p) {
  return library::has_dtype(p) && p.y_slice.is_whole() && forward(p, false).is_supported() &&
         forward(p, true).is_supported();
}
bool conv2d_backward_data_cudnn_supports(const Conv2dProblem& p) {
  return library::has_dtype(p) && data(p).is_supported();
}
bool conv2d_backward_weights_cudnn_supports(const Conv2dProblem& p) {
  if (!library::has_dtype(p) || !bias_gradient(p).is_supported()) return false;
  return weights(p).is_supported() ||
         (p.dtype == Dtype::bf16 && plain_weights(p).is_supported() && widening(p).is_supported());
}

void conv2d_forward_cudnn(const Conv2dProblem& p, Ports t, Stream stream) {
  if (t[2]) return forward(p, true).run({t[0], t[1], t[2], t[3]}, stream);
  forward(p, false).run({t[0], t[1], t[3]}, stream);
}

void conv2d_backward_data_cudnn(const Conv2dProblem& p, Ports t, Stream stream) {
  data(p).run({t[0], t[1], t[2]}, stream);
}

void conv2d_backward_weights_cudnn(const Conv2dProblem& p, Ports t, Stream stream) {
  if (weights(p).is_supported()) {
    weights(p).run({t[1], t[0], t[2]}, stream);
  } else {
    const Storage storage(p.w_shape(), p.dtype, stream.device);
    const View narrow{storage.data(), p.w_shape(), p.dtype, stream.device};
    plain_weights(p).run({t[1], t[0], narrow}, stream);
    widening(p).run({narrow, t[2]}, stream);
  }
  if (t[3]) bias_gradient(p).run({t[1], t[3]}, stream);
}

}  // namespace fovea
