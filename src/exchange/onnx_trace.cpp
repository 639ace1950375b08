// See onnx_trace.hpp.
#include "exchange/onnx_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "autograd/engine.hpp"
#include "exchange/onnx_nodes.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

// FNV-1a, eight bytes at a time.
std::uint64_t hash_of(const View& view) {
  const auto* bytes = static_cast<const unsigned char*>(view.data);
  std::uint64_t hash = 14695981039346656037u;
  for (std::int64_t i = 0; i < view.bytes(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, static_cast<std::size_t>(std::min<std::int64_t>(8, view.bytes() - i)));
    hash = (hash ^ word) * 1099511628211u;
    hash ^= hash >> 29;
  }
  return hash;
}

bool is_image(const Shape& shape) { return shape.rank() == 4; }

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

Tensor tensor_at(const View& view) {
  return Tensor::from<float>(std::span(view.as<const float>(), static_cast<std::size_t>(view.numel())),
                             view.shape, Dtype::f32);
}

const std::vector<std::int64_t> to_nhwc{0, 2, 3, 1}, to_nchw{0, 3, 1, 2};

}  // namespace

OnnxTrace::OnnxTrace(OnnxGraph& graph, const std::vector<NamedTensor>& state)
    : graph_(graph), before_(set_trace_sink(this)) {
  for (const NamedTensor& named : state) state_.emplace(named.tensor.view().data, named);
}

OnnxTrace::~OnnxTrace() { set_trace_sink(before_); }

void OnnxTrace::add_input(const std::string& name, const Tensor& tensor) {
  graph_.add_input(name, tensor.shape());
  written_[tensor.view().data] = {{name, tensor.shape()}, hash_of(tensor.view())};
}

const OnnxValue* OnnxTrace::find(const View& view) const {
  const auto found = written_.find(view.data);
  if (found == written_.end() || found->second.value.shape.numel() != view.numel()) return nullptr;
  return found->second.bytes == hash_of(view) ? &found->second.value : nullptr;
}

std::string OnnxTrace::output(const Tensor& tensor) {
  if (const OnnxValue* value = find(tensor.view())) return reshaped(*value, tensor.shape()).name;
  fail("the result of the forward pass is not what a primitive wrote, so it has no place in an ONNX file");
}

// The file's order is that of N,C,H,W: an image goes through N,H,W,C unless it has one pixel or one channel.
OnnxValue OnnxTrace::reshaped(const OnnxValue& from, const Shape& shape) {
  if (from.shape == shape) return from;
  const auto same_order = [](const Shape& s) { return !is_image(s) || s[1] * s[2] == 1 || s[3] == 1; };
  if (from.shape[0] != shape[0]) {
    fail(
        fmt::format("a tensor of {} is taken as {}: in an ONNX file the batch is free, and only the first "
                    "dimension can be it",
                    to_string(from.shape), to_string(shape)));
  }
  std::string y =
      same_order(from.shape) ? from.name : graph_.node("Transpose", {from.name}, {{"perm", to_nhwc}});
  const bool transpose = !same_order(shape);
  std::vector<std::int64_t> dims = dims_of(shape);
  dims[0] = 0;  // as it is: the batch
  if (is_image(shape) && !transpose) dims = {0, shape[3], shape[1], shape[2]};
  y = graph_.node("Reshape", {y, graph_.integers("shape", dims)});
  return {transpose ? graph_.node("Transpose", {y}, {{"perm", to_nchw}}) : y, shape};
}

void OnnxTrace::record(const TraceEvent& event) {
  if (event.depth > 0) return;  // within a composed kernel, whose primitive comes next
  OnnxStep step(*this, event);
  write_onnx_nodes(*event.primitive, step);
}

OnnxStep::OnnxStep(OnnxTrace& trace, const TraceEvent& event)
    : trace_(trace), event_(event), specs_(event.primitive->ports(event.problem)) {}

void OnnxStep::refuse(const std::string& what) const {
  fail(fmt::format("{} cannot be written as ONNX: {}", event_.primitive->name, what));
}

OnnxValue OnnxStep::value(std::size_t port) const {
  if (const OnnxValue* value = trace_.find(event_.ports[port])) return *value;
  refuse(fmt::format("its port '{}' holds neither an input of the model nor what a primitive wrote",
                     port_name(port)));
}

OnnxValue OnnxStep::rows(std::size_t port, std::int64_t channels) {
  const OnnxValue x = value(port);
  return x.shape[-1] == channels ? x : trace_.reshaped(x, {x.shape.numel() / channels, channels});
}

bool OnnxStep::holds_value(std::size_t port) const { return trace_.find(event_.ports[port]) != nullptr; }

std::string OnnxStep::stored(std::size_t port, const std::string& name, const Tensor& tensor,
                             const Shape& shape, Layout layout) {
  std::string& known = trace_.constants_[{event_.ports[port].data, layout, to_string(shape)}];
  if (known.empty()) {
    const Tensor laid_out = to_file_layout(alias(tensor, shape), layout);
    known = trace_.graph_.constant(name, laid_out, dims_of(laid_out.shape()));
  }
  return known;
}

std::string OnnxStep::parameter(std::size_t port, const Shape& shape, Layout layout) {
  const auto found = trace_.state_.find(event_.ports[port].data);
  if (found == trace_.state_.end()) {
    refuse(fmt::format("its port '{}' holds no parameter of the model", port_name(port)));
  }
  return stored(port, found->second.name, found->second.tensor, shape, layout);
}

std::string OnnxStep::parameter_or_constant(std::size_t port, const Shape& shape, Layout layout) {
  const View& view = event_.ports[port];
  if (trace_.state_.contains(view.data)) return parameter(port, shape, layout);
  if (view.shape.rank() > 1) {
    refuse(fmt::format("its port '{}' of {} holds neither a value nor a parameter of the model",
                       port_name(port), to_string(view.shape)));
  }
  const Tensor laid_out = to_file_layout(alias(tensor_at(view), shape), layout);
  return trace_.graph_.constant("constant", laid_out, dims_of(laid_out.shape()));
}

std::string OnnxStep::constant(const char* name, const Tensor& tensor) {
  return trace_.graph_.constant(name, tensor, dims_of(tensor.shape()));
}

std::string OnnxStep::scalar(double value) {
  std::string& known = trace_.constants_[{nullptr, Layout::plain, fmt::format("{}", value)}];
  if (known.empty()) known = trace_.graph_.constant("scalar", Tensor::scalar(value, Dtype::f32), {});
  return known;
}

void OnnxStep::set(std::size_t port, const std::string& name, const Shape& shape) {
  trace_.written_[event_.ports[port].data] = {{name, shape}, hash_of(event_.ports[port])};
}

}  // namespace fovea
