// See graph_spec.hpp.
#include "kernels/cuda/graph_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace fovea {
namespace {

struct OpInfo {
  GraphOp op;
  const char* name;
  std::size_t inputs, outputs;
};
constexpr OpInfo infos[] = {
    {GraphOp::convolution, "convolution", 2, 1},
    {GraphOp::convolution_data, "convolution_data", 2, 1},
    {GraphOp::convolution_weights, "convolution_weights", 2, 1},
    {GraphOp::add, "add", 2, 1},
    {GraphOp::multiply, "multiply", 2, 1},
    {GraphOp::subtract, "subtract", 2, 1},
    {GraphOp::relu, "relu", 1, 1},
    {GraphOp::sigmoid, "sigmoid", 1, 1},
    {GraphOp::relu_backward, "relu_backward", 2, 1},
    {GraphOp::sigmoid_backward, "sigmoid_backward", 2, 1},
    {GraphOp::gelu, "gelu", 1, 1},
    {GraphOp::gelu_backward, "gelu_backward", 2, 1},
    {GraphOp::inverse_root, "inverse_root", 1, 1},
    {GraphOp::sum, "sum", 1, 1},
    {GraphOp::statistics, "statistics", 1, 2},
    {GraphOp::statistics_finalize, "statistics_finalize", 9, 6},
    {GraphOp::norm_training, "norm_training", 7, 5},
    {GraphOp::norm_inference, "norm_inference", 5, 1},
    {GraphOp::norm_backward, "norm_backward", 5, 3},
    {GraphOp::row_norm_training, "row_norm_training", 4, 3},
    {GraphOp::row_norm_inference, "row_norm_inference", 4, 1},
    {GraphOp::row_norm_backward, "row_norm_backward", 5, 3},
    {GraphOp::pool_average, "pool_average", 1, 1},
    {GraphOp::pool_average_inside, "pool_average_inside", 1, 1},
};

const OpInfo& info_of(GraphOp op) {
  return *std::find_if(std::begin(infos), std::end(infos), [&](const OpInfo& i) { return i.op == op; });
}

std::string shape_text(const GraphShape& s) {
  return is_matrices(s) ? fmt::format("{}x{}x{}", s[0], s[1], s[2])
                        : fmt::format("{}x{}x{}x{}", s[0], s[1], s[2], s[3]);
}

std::string tensor_text(const GraphTensor& t) {
  return fmt::format("{} {} {}", t.name, name_of(t.dtype), shape_text(t.shape));
}

// Only what differs from a window of one element.
std::string window_text(const GraphWindow& w) {
  const GraphWindow plain;
  std::string text;
  const auto add = [&](const char* name, const auto& value, const auto& usual) {
    if (value != usual) text += fmt::format(" {} {}x{}", name, value[0], value[1]);
  };
  add("window", w.window, plain.window);
  add("stride", w.stride, plain.stride);
  add("pad", w.pad, plain.pad);
  add("dilation", w.dilation, plain.dilation);
  return text;
}

}  // namespace

std::string_view name_of(GraphOp op) { return info_of(op).name; }

void GraphSpec::input(const std::string& name, Dtype dtype, const GraphShape& shape) {
  tensors_.push_back({name, GraphRole::input, dtype, shape, 0});
}
void GraphSpec::output(const std::string& name, Dtype dtype, const GraphShape& shape) {
  tensors_.push_back({name, GraphRole::output, dtype, shape, 0});
}
void GraphSpec::constant(const std::string& name, double value, Dtype dtype) {
  tensors_.push_back({name, GraphRole::constant, dtype, {1, 1, 1, 1}, value});
}
void GraphSpec::inner(const std::string& name, const GraphShape& shape, Dtype dtype) {
  tensors_.push_back({name, GraphRole::inner, dtype, shape, 0});
}

void GraphSpec::pointwise(GraphOp op, std::initializer_list<std::string> inputs, const std::string& output) {
  node(op, inputs, {output});
}
void GraphSpec::windowed(GraphOp op, std::initializer_list<std::string> inputs, const std::string& output,
                         const GraphWindow& window) {
  nodes_.push_back({op, inputs, {output}, window});
}
void GraphSpec::node(GraphOp op, std::initializer_list<std::string> inputs,
                     std::initializer_list<std::string> outputs) {
  nodes_.push_back({op, inputs, outputs, {}});
}

const GraphTensor* GraphSpec::find(const std::string& name) const {
  const auto it =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const GraphTensor& t) { return t.name == name; });
  return it == tensors_.end() ? nullptr : &*it;
}

std::vector<const GraphTensor*> GraphSpec::ports() const {
  std::vector<const GraphTensor*> found;
  for (const GraphTensor& t : tensors_) {
    if (t.role == GraphRole::input || t.role == GraphRole::output) found.push_back(&t);
  }
  return found;
}

std::string GraphSpec::problem() const {
  std::set<std::string> known, made;
  for (const GraphTensor& t : tensors_) {
    if (!known.insert(t.name).second)
      return fmt::format("{}: tensor '{}' is named twice", primitive_, t.name);
    if (*std::min_element(t.shape.begin(), t.shape.end() - (is_matrices(t.shape) ? 1 : 0)) < 1) {
      return fmt::format("{}: tensor '{}' of {} must be at least 1 in every dimension", primitive_, t.name,
                         shape_text(t.shape));
    }
    if (t.role == GraphRole::input || t.role == GraphRole::constant) made.insert(t.name);
  }
  for (const GraphNode& n : nodes_) {
    const OpInfo& info = info_of(n.op);
    if (n.inputs.size() != info.inputs || n.outputs.size() != info.outputs) {
      return fmt::format("{}: {} has {} inputs and {} outputs, needs {} and {}", primitive_, info.name,
                         n.inputs.size(), n.outputs.size(), info.inputs, info.outputs);
    }
    for (const std::string& name : n.inputs) {
      if (!made.contains(name))
        return fmt::format("{}: {} reads '{}', which nothing has made", primitive_, info.name, name);
    }
    for (const std::string& name : n.outputs) {
      if (!made.insert(name).second) return fmt::format("{}: '{}' is made twice", primitive_, name);
    }
  }
  for (const GraphTensor& t : tensors_) {
    if (!made.contains(t.name)) return fmt::format("{}: nothing makes '{}'", primitive_, t.name);
  }
  return nodes_.empty() ? fmt::format("{}: the graph is empty", primitive_) : "";
}

std::string GraphSpec::text() const {
  std::vector<std::string> inputs, outputs, steps;
  for (const GraphTensor& t : tensors_) {
    if (t.role == GraphRole::constant) inputs.push_back(fmt::format("{} = {}", t.name, t.value));
    if (t.role == GraphRole::input) inputs.push_back(tensor_text(t));
    if (t.role == GraphRole::output) outputs.push_back(tensor_text(t));
    if (t.role == GraphRole::inner) steps.push_back(tensor_text(t));
  }
  for (const GraphNode& n : nodes_) {
    steps.push_back(fmt::format("{} = {}({}){}", fmt::join(n.outputs, ", "), name_of(n.op),
                                fmt::join(n.inputs, ", "), window_text(n.window)));
  }
  return fmt::format("{} -> {}; {}", fmt::join(inputs, ", "), fmt::join(outputs, ", "),
                     fmt::join(steps, "; "));
}

}  // namespace fovea
