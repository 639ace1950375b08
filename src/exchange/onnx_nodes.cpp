// A function for each primitive of inference: from its Problem and its ports to nodes over N,C,H,W. See onnx_nodes.hpp.
#include "exchange/onnx_nodes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>

#include "autograd/engine.hpp"
#include "kernels/concat/concat.hpp"
#include "kernels/conv2d/conv2d.hpp"
#include "kernels/ham/ham.hpp"
#include "kernels/head/head.hpp"
#include "kernels/layer_norm/layer_norm.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/loss/loss.hpp"
#include "kernels/mlrm/mlrm.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/pointwise/scale_residual.hpp"
#include "kernels/pool/pool.hpp"

namespace fovea {
namespace {

using Ints = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

std::string relu_where(bool wanted, const std::string& x, OnnxStep& s) {
  return wanted ? s.node("Relu", {x}) : x;
}

// ---- convolution and normalisation

void conv2d(OnnxStep& s) {
  const auto& p = s.problem<Conv2dProblem>();
  Names inputs{s.value(0, p.x_shape()).name, s.parameter(1, p.w_shape(), Layout::filter)};
  if (s.has(2)) inputs.push_back(s.parameter(2, {p.k}));
  const std::string y = s.node("Conv", inputs,
                               {{"kernel_shape", Ints{p.r, p.s}},
                                {"strides", Ints{p.stride_h, p.stride_w}},
                                {"pads", Ints{p.pad_h, p.pad_w, p.pad_h, p.pad_w}},
                                {"dilations", Ints{p.dilation_h, p.dilation_w}},
                                {"group", p.groups}});
  s.set(3, relu_where(p.relu, y, s), p.y_shape(), p.y_slice);
}

// gamma, beta, mean and variance are the four ports from `first` on.
std::string normalised(const std::string& x, std::size_t first, std::int64_t channels, double eps,
                       OnnxStep& s) {
  Names inputs{x};
  for (std::size_t port = first; port < first + 4; ++port) inputs.push_back(s.parameter(port, {channels}));
  return s.node("BatchNormalization", inputs, {{"epsilon", eps}});
}

void batch_norm(OnnxStep& s) {
  const auto& p = s.problem<BatchNormProblem>();
  const OnnxValue x = s.rows(0, p.channels, p.x_slice);
  s.set(5, relu_where(p.relu, normalised(x.name, 1, p.channels, p.eps, s), s), x.shape, p.y_slice);
}

// Over the last dimension of the file too: an image goes through N,H,W,C.
void layer_norm(OnnxStep& s) {
  const auto& p = s.problem<LayerNormProblem>();
  const OnnxValue x = s.rows(0, p.channels);
  const bool image = x.shape.rank() == 4;
  std::string y = image ? s.node("Transpose", {x.name}, {{"perm", Ints{0, 2, 3, 1}}}) : x.name;
  y = s.node("LayerNormalization", {y, s.parameter(1, {p.channels}), s.parameter(2, {p.channels})},
             {{"epsilon", p.eps}});
  if (image) y = s.node("Transpose", {y}, {{"perm", Ints{0, 3, 1, 2}}});
  s.set(3, y, x.shape);
}

// ---- pooling

struct Padding {
  std::int64_t begin, end;
};
// So that a window in floor mode gives as many outputs as the problem has, which may be one more (ceil mode).
Padding padding(std::int64_t size, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                std::int64_t pad) {
  return {pad, std::max(pad, (out - 1) * stride + kernel - size - pad)};
}

struct Window {
  Ints kernel, strides, pads;
  bool symmetric;
};
Window window_of(const PoolProblem& p) {
  const Padding h = padding(p.h, p.y_shape()[1], p.kernel_h, p.stride_h, p.pad_h),
                w = padding(p.w, p.y_shape()[2], p.kernel_w, p.stride_w, p.pad_w);
  return {{p.kernel_h, p.kernel_w},
          {p.stride_h, p.stride_w},
          {h.begin, w.begin, h.end, w.end},
          h.begin == h.end && w.begin == w.end};
}

void max_pool(OnnxStep& s) {
  const auto& p = s.problem<PoolProblem>();
  const Window w = window_of(p);
  const std::string x = s.value(0, p.x_shape()).name;
  s.set(1, s.node("MaxPool", {x}, {{"kernel_shape", w.kernel}, {"strides", w.strides}, {"pads", w.pads}}),
        p.y_shape(), p.y_slice);
}

void avg_pool(OnnxStep& s) {
  const auto& p = s.problem<PoolProblem>();
  Window w = window_of(p);
  std::string x = s.value(0, p.x_shape()).name;
  bool count = p.count_include_pad != 0;
  if (count && !w.symmetric) {  // PyTorch counts the padding, but not what ceil mode adds behind it
    x = s.node("Pad", {x, s.integers("pads", {0, 0, p.pad_h, p.pad_w, 0, 0, p.pad_h, p.pad_w})});
    w.pads = {0, 0, w.pads[2] - p.pad_h, w.pads[3] - p.pad_w};
    count = false;
  }
  s.set(1,
        s.node("AveragePool", {x},
               {{"kernel_shape", w.kernel},
                {"strides", w.strides},
                {"pads", w.pads},
                {"count_include_pad", std::int64_t{count}}}),
        p.y_shape(), p.y_slice);
}

// Row i is the mean over what output i covers: floor(i size / out) to ceil((i+1) size / out).
Tensor adaptive_matrix(std::int64_t out, std::int64_t size) {
  Tensor matrix = Tensor::zeros({out, size}, Dtype::f32);
  for (std::int64_t i = 0; i < out; ++i) {
    const std::int64_t begin = i * size / out, end = ((i + 1) * size + out - 1) / out;
    for (std::int64_t j = begin; j < end; ++j)
      matrix.data<float>()[i * size + j] = 1.0F / static_cast<float>(end - begin);
  }
  return matrix;
}

Tensor transposed(const Tensor& matrix) {
  const Shape& m = matrix.shape();
  return alias(to_file_layout(alias(matrix, {1, m[0], 1, m[1]}), Layout::filter), {m[1], m[0]});
}

// ONNX has windows of one size alone; others are products with a matrix on either side of the plane.
void adaptive_avg_pool(OnnxStep& s) {
  const auto& p = s.problem<AdaptivePoolProblem>();
  std::string x = s.value(0, p.x_shape()).name;
  if (p.h % p.out_h == 0 && p.w % p.out_w == 0) {
    const Ints window{p.h / p.out_h, p.w / p.out_w};
    x = s.node("AveragePool", {x}, {{"kernel_shape", window}, {"strides", window}});
  } else {
    x = s.node("MatMul", {x, s.constant("columns", transposed(adaptive_matrix(p.out_w, p.w)))});
    x = s.node("MatMul", {s.constant("rows", adaptive_matrix(p.out_h, p.h)), x});
  }
  s.set(1, x, p.y_shape());
}

std::string image_mean(const std::string& x, OnnxStep& s) {
  return s.node("Flatten", {s.node("GlobalAveragePool", {x})});
}

void global_avg_pool(OnnxStep& s) {
  const auto& p = s.problem<GlobalPoolProblem>();
  s.set(1, image_mean(s.value(0, p.x_shape()).name, s), p.y_shape());
}

// ---- matrices

// Weight and bias are the ports `port` and the one behind it.
std::string gemm(const std::string& x, std::size_t port, const Shape& weight, Layout layout, OnnxStep& s) {
  Names inputs{x, s.parameter(port, weight, layout)};
  if (s.has(port + 1)) inputs.push_back(s.parameter(port + 1, {weight[0]}));
  return s.node("Gemm", inputs, {{"transB", std::int64_t{1}}});
}
std::string conv_1x1(const std::string& x, std::size_t port, const Shape& weight, OnnxStep& s) {
  Names inputs{x, s.parameter(port, weight, Layout::matrix_1x1)};
  if (s.has(port + 1)) inputs.push_back(s.parameter(port + 1, {weight[0]}));
  return s.node("Conv", inputs, {{"kernel_shape", Ints{1, 1}}});
}

// Over an image it is a 1x1 convolution where the pixels are the rows; where each image is a row, the weight takes the
// file's order of C,H,W.
void linear(OnnxStep& s) {
  const auto& p = s.problem<LinearProblem>();
  const OnnxValue x = s.value(0);
  std::string y;
  Shape shape = p.y_shape();
  const bool image = x.shape.rank() == 4;
  if (image && p.n != x.shape[0] && p.in == x.shape[3]) {
    y = conv_1x1(x.name, 1, p.w_shape(), s);
    shape = {x.shape[0], x.shape[1], x.shape[2], p.out};
  } else if (image && p.n == x.shape[0]) {
    y = gemm(s.node("Flatten", {x.name}), 1, {p.out, x.shape[1], x.shape[2], x.shape[3]},
             Layout::image_matrix, s);
  } else {
    y = gemm(s.value(0, p.x_shape()).name, 1, p.w_shape(), Layout::plain, s);
  }
  s.set(3, relu_where(p.relu, y, s), shape);
}

void softmax(OnnxStep& s) {
  const OnnxValue x = s.rows(0, s.problem<SoftmaxProblem>().k);
  s.set(1, s.node("Softmax", {x.name}, {{"axis", std::int64_t{1}}}),
        x.shape);  // the channels in either layout
}

// ---- element by element

void relu(OnnxStep& s) {
  const OnnxValue x = s.value(0);
  s.set(1, s.node("Relu", {x.name}), x.shape);
}

void sigmoid(OnnxStep& s) {
  const OnnxValue x = s.value(0);
  s.set(1, s.node("Sigmoid", {x.name}), x.shape);
}

// x Phi(x); opset 17 has no Gelu.
void gelu(OnnxStep& s) {
  const OnnxValue x = s.value(0);
  const std::string erf = s.node("Erf", {s.node("Mul", {x.name, s.scalar(std::numbers::sqrt2 / 2)})});
  const std::string half = s.node("Mul", {x.name, s.scalar(0.5)});
  s.set(1, s.node("Mul", {half, s.node("Add", {erf, s.scalar(1)})}), x.shape);
}

void scale_residual(OnnxStep& s) {
  const auto& p = s.problem<ScaleResidualProblem>();
  if (s.has(3)) s.refuse("stochastic depth is of training");
  const OnnxValue x = s.rows(0, p.channels);
  const OnnxValue f = s.value(1, x.shape);
  const Shape gamma = x.shape.rank() == 4 ? Shape{p.channels, 1, 1} : Shape{p.channels};
  s.set(4, s.node("Add", {x.name, s.node("Mul", {f.name, s.parameter(2, gamma)})}), x.shape);
}

// Beside an image dimensions must be those of an image; a parameter gets them.
std::string operand(std::size_t port, const Shape& shape, int rank, OnnxStep& s) {
  if (s.holds_value(port)) {
    if (shape.rank() != rank)
      s.refuse(fmt::format("{} is spread over {} dimensions", to_string(shape), rank));
    return s.value(port, shape).name;
  }
  if (rank != 4) return s.parameter_or_constant(port, shape, Layout::plain);
  Shape padded;
  for (int i = shape.rank(); i < rank; ++i) padded.push_back(1);
  for (int i = 0; i < shape.rank(); ++i) padded.push_back(shape[i]);
  return s.parameter_or_constant(port, padded, Layout::filter);
}

void binary(const char* op, OnnxStep& s) {
  const auto& p = s.problem<BroadcastProblem>();
  const Shape y = p.y_shape();
  const std::string a = operand(0, p.a, y.rank(), s), b = operand(1, p.b, y.rank(), s);
  s.set(2, s.node(op, {a, b}), y);
}
void add(OnnxStep& s) { binary("Add", s); }
void multiply(OnnxStep& s) { binary("Mul", s); }

void concat(OnnxStep& s) {
  const auto& p = s.problem<ConcatProblem>();
  const auto parts = static_cast<std::size_t>(p.parts);
  Names inputs;
  Shape y;
  for (std::size_t i = 0; i < parts; ++i) {
    const OnnxValue x = s.rows(i, p.channels[i]);
    if (i > 0 && x.shape.rank() != y.rank()) s.refuse("images stand beside matrices");
    inputs.push_back(x.name);
    y = x.shape;
  }
  y[-1] = p.total();
  s.set(parts, s.node("Concat", inputs, {{"axis", std::int64_t{1}}}), y);
}

// ---- HM-VGG

void ham(OnnxStep& s) {
  const auto& p = s.problem<HamProblem>();
  const std::string x = s.value(0, p.x_shape()).name;
  const std::string spatial = s.node("Sigmoid", {conv_1x1(x, 1, {1, p.c}, s)});
  const std::string means = s.node("GlobalAveragePool", {x});
  const std::string hidden = s.node("Relu", {conv_1x1(means, 3, {p.hidden, p.c}, s)});
  const std::string channel = s.node("Sigmoid", {conv_1x1(hidden, 5, {p.c, p.hidden}, s)});
  const std::string gated = s.node("Mul", {x, s.node("Add", {spatial, channel})});
  s.set(7, p.scse ? gated : s.node("Mul", {x, s.node("Sigmoid", {gated})}), p.x_shape());
}

void mlrm(OnnxStep& s) {
  const auto& p = s.problem<MlrmProblem>();
  const std::string x = s.value(0, p.x_shape()).name;
  const auto branches = static_cast<std::size_t>(p.branches);
  std::string sum = x;
  for (std::size_t b = 0; b < branches; ++b) {
    const std::size_t port = 1 + 5 * b;
    const std::int64_t d = p.dilations[b];
    const std::string z =
        s.node("Conv", {x, s.parameter(port, p.w_shape(), Layout::filter)},
               {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{d, d, d, d}}, {"dilations", Ints{d, d}}});
    sum = s.node("Add", {sum, s.node("Relu", {normalised(z, port + 1, p.c, p.eps, s)})});
  }
  s.set(1 + 5 * branches, sum, p.x_shape());
}

void head(OnnxStep& s) {
  const auto& p = s.problem<HeadProblem>();
  const std::string m = image_mean(s.value(0, p.m_shape()).name, s),
                    r = image_mean(s.value(1, p.r_shape()).name, s);
  const std::string f = s.node("Add", {m, gemm(r, 2, {p.c, p.c}, Layout::plain, s)});
  const std::string hidden = s.node("Relu", {gemm(f, 4, {p.hidden, p.c}, Layout::plain, s)});
  s.set(8, gemm(hidden, 6, {p.classes, p.hidden}, Layout::plain, s), {p.n, p.classes});
}

struct Row {
  const Primitive* primitive;
  void (*write)(OnnxStep& step);
};
const Row rows[] = {
    {&conv2d_forward, conv2d},
    {&batch_norm_forward_inference, batch_norm},
    {&layer_norm_forward, layer_norm},
    {&max_pool_forward, max_pool},
    {&avg_pool_forward, avg_pool},
    {&adaptive_avg_pool_forward, adaptive_avg_pool},
    {&global_avg_pool_forward, global_avg_pool},
    {&linear_forward, linear},
    {&softmax_forward, softmax},
    {&relu_forward, relu},
    {&sigmoid_forward, sigmoid},
    {&gelu_forward, gelu},
    {&scale_residual_forward, scale_residual},
    {&add_forward, add},
    {&multiply_forward, multiply},
    {&concat_forward, concat},
    {&ham_forward, ham},
    {&mlrm_forward_inference, mlrm},
    {&head_forward, head},
};

}  // namespace

void write_onnx_nodes(const Primitive& primitive, OnnxStep& step) {
  for (const Row& row : rows) {
    if (row.primitive == &primitive) return row.write(step);
  }
  step.refuse("no form of it is known; src/exchange/onnx_nodes.cpp has one function for each primitive");
}

}  // namespace fovea
