// GraphSpec: what a library is to compute, as a small graph of its operations: plain data, free of the library's types.
//
//   GraphSpec g("conv2d.forward", cost);
//   g.input("x", Dtype::bf16, {n, c, h, w});  g.input("w", ...);  g.input("b", ...);
//   g.convolution(GraphOp::convolution, {"x", "w"}, "t", window);
//   g.pointwise(GraphOp::add, {"t", "b"}, "u");  g.pointwise(GraphOp::relu, {"u"}, "y");
//   g.output("y", Dtype::bf16, {n, k, p, q});
//
// What is neither input nor output never reaches memory. All arithmetic is in f32, and so is what nodes hand on, unless
// inner() says otherwise. Its text() says all of it, so it is the key of the plan cache.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

enum class GraphOp : std::uint8_t {
  convolution,          // x, w -> y
  convolution_data,     // dy, w -> dx
  convolution_weights,  // dy, x -> dw
  add,                  // a, b -> y, with broadcast
  multiply,             // a, b -> y, with broadcast
  subtract,             // a, b -> y, with broadcast
  relu,                 // x -> y
  sigmoid,              // x -> y
  relu_backward,        // dy, x -> dx
  sigmoid_backward,     // dy, x -> dx
  gelu,                 // x -> y, by erf
  gelu_backward,        // dy, x -> dx
  inverse_root,         // x -> x^-1/2
  sum,                  // x -> y, over the dimensions in which y has size 1
  statistics,           // x -> sum, sum of squares, of each channel
  statistics_finalize,  // sum, squares, scale, bias, running_mean, running_var, eps, momentum, count
                        //   -> equivalent scale, equivalent bias, mean, invstd, next_mean, next_var
  norm_training,        // x, scale, bias, running_mean, running_var, eps, momentum
                        //   -> y, mean, invstd, next_mean, next_var
  norm_inference,       // x, mean, invstd, scale, bias -> y
  norm_backward,        // dy, x, scale, mean, invstd -> dx, dscale, dbias
  row_norm_training,    // x, scale, bias, eps -> y, mean, invstd of each row
  row_norm_inference,   // x, scale, bias, eps -> y
  row_norm_backward,    // dy, x, scale, mean, invstd -> dx, dscale, dbias
  pool_average,         // x -> y; padding counts as zeros
  pool_average_inside,  // x -> y; only what lies inside counts
};
std::string_view name_of(GraphOp op);

/// N, C, H, W; K, C, R, S of filters. In memory C is the innermost.
using GraphShape = std::array<std::int64_t, 4>;
/// Three dimensions, row by row in memory: the form in which a value for each row and one for each column of an image
/// meet. All tensors of a graph have the same number of dimensions.
constexpr GraphShape matrices(std::int64_t count, std::int64_t rows, std::int64_t columns) {
  return {count, rows, columns, 0};
}
constexpr bool is_matrices(const GraphShape& shape) { return shape[3] == 0; }
constexpr GraphShape per_channel(std::int64_t channels) { return {1, channels, 1, 1}; }

enum class GraphRole : std::uint8_t { input, output, inner, constant };

struct GraphTensor {
  std::string name;
  GraphRole role = GraphRole::inner;
  Dtype dtype = Dtype::f32;
  GraphShape shape{1, 1, 1, 1};
  double value = 0;  // of a constant

  std::int64_t bytes() const {
    return shape[0] * shape[1] * shape[2] * (is_matrices(shape) ? 1 : shape[3]) * size_of(dtype);
  }
};

/// Of convolutions and pooling; `window` of pooling only.
struct GraphWindow {
  std::array<std::int64_t, 2> window{1, 1}, stride{1, 1}, pad{0, 0}, dilation{1, 1};
};

struct GraphNode {
  GraphOp op = GraphOp::add;
  std::vector<std::string> inputs, outputs;
  GraphWindow window;
};

class GraphSpec {
 public:
  /// `primitive` names whose kernel this is or is part of: "ham.forward".
  GraphSpec(std::string primitive, const Cost& cost) : primitive_(std::move(primitive)), cost_(cost) {}

  void input(const std::string& name, Dtype dtype, const GraphShape& shape);
  void output(const std::string& name, Dtype dtype, const GraphShape& shape);
  /// One number, known when the graph is built: f32, or i64 for a count.
  void constant(const std::string& name, double value, Dtype dtype = Dtype::f32);
  /// A result that only other nodes read, of a shape or dtype that its node does not imply.
  void inner(const std::string& name, const GraphShape& shape, Dtype dtype = Dtype::f32);

  void pointwise(GraphOp op, std::initializer_list<std::string> inputs, const std::string& output);
  void windowed(GraphOp op, std::initializer_list<std::string> inputs, const std::string& output,
                const GraphWindow& window);
  void node(GraphOp op, std::initializer_list<std::string> inputs,
            std::initializer_list<std::string> outputs);

  const std::string& primitive() const { return primitive_; }
  const Cost& cost() const { return cost_; }
  const std::vector<GraphTensor>& tensors() const { return tensors_; }
  const std::vector<GraphNode>& nodes() const { return nodes_; }

  /// Inputs and outputs, in the order in which they were named: that of the pointers to run it on.
  std::vector<const GraphTensor*> ports() const;

  /// Empty, or one sentence: a name that nobody made or that two made, a wrong number of inputs, an output that no
  /// node makes, a size under 1.
  std::string problem() const;

  /// All of it but the cost: "x bf16 8x3x224x224, ... -> y ...; t = convolution(x, w) pad 1x1; y = relu(t)".
  std::string text() const;

 private:
  const GraphTensor* find(const std::string& name) const;

  std::string primitive_;
  Cost cost_;
  std::vector<GraphTensor> tensors_;
  std::vector<GraphNode> nodes_;
};

}  // namespace fovea
