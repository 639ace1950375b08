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
std::uint64_t hash_of(const unsigned char* bytes, std::int64_t count, std::uint64_t hash) {
  for (std::int64_t i = 0; i < count; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, static_cast<std::size_t>(std::min<std::int64_t>(8, count - i)));
    hash = (hash ^ word) * 1099511628211u;
    hash ^= hash >> 29;
  }
  return hash;
}

// Of `channels` of an image of `total`, from `begin` on.
std::uint64_t hash_of(const View& view, std::int64_t begin, std::int64_t channels, std::int64_t total) {
  constexpr std::uint64_t basis = 14695981039346656037u;
  const auto* bytes = static_cast<const unsigned char*>(view.data);
  const std::int64_t size = size_of(view.dtype);
  if (channels == total) return hash_of(bytes, view.bytes(), basis);
  std::uint64_t hash = basis;
  for (std::int64_t at = begin; at < view.numel(); at += total)
    hash = hash_of(bytes + at * size, channels * size, hash);
  return hash;
}

std::int64_t channels_of(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[-1]; }

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
  write(tensor.view(), name, tensor.shape(), {});
}

OnnxTrace::Written* OnnxTrace::written_at(const View& view) {
  const auto found = written_.find(view.data);
  return found == written_.end() || found->second.shape.numel() != view.numel() ? nullptr : &found->second;
}

bool OnnxTrace::holds_value(const View& view) {
  const Written* written = written_at(view);
  if (written == nullptr) return false;
  const std::int64_t total = channels_of(written->shape);
  return std::all_of(written->parts.begin(), written->parts.end(), [&](const Part& part) {
    return part.bytes == hash_of(view, part.begin, part.channels, total);
  });
}

std::optional<OnnxValue> OnnxTrace::find(const View& view, const ChannelSlice& slice, std::int64_t channels) {
  Written* written = written_at(view);
  if (written == nullptr) return {};
  std::vector<Part>& parts = written->parts;
  const std::int64_t total = channels_of(written->shape);
  const std::int64_t begin = slice.begin, end = slice.is_whole() ? total : begin + channels;
  const auto first =
      std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.begin >= begin; });
  auto last = first;
  std::vector<std::string> names;
  std::int64_t at = begin;
  for (; last != parts.end() && at < end && last->begin == at; ++last) {
    if (last->bytes != hash_of(view, last->begin, last->channels, total)) return {};
    names.push_back(last->name);
    at += last->channels;
  }
  if (at != end) return {};
  if (names.size() > 1) {
    const std::string whole = graph_.node("Concat", names, {{"axis", std::int64_t{1}}});
    *first = {begin, end - begin, whole, hash_of(view, begin, end - begin, total)};
    parts.erase(first + 1, last);
    names = {whole};
  }
  return OnnxValue{names.front(),
                   slice.is_whole() ? written->shape : with_channels(written->shape, channels)};
}

void OnnxTrace::write(const View& view, const std::string& name, const Shape& own,
                      const ChannelSlice& slice) {
  const std::int64_t channels = channels_of(own);
  const Shape whole = slice.shape_of(own);
  const Part part{slice.begin, channels, name, hash_of(view, slice.begin, channels, slice.pitch(channels))};
  Written& written = written_[view.data];
  if (slice.is_whole() || written.shape != whole) written = {whole, {}};
  std::erase_if(written.parts, [&](const Part& old) {
    return (old.begin < part.begin + channels && part.begin < old.begin + old.channels) ||
           old.bytes != hash_of(view, old.begin, old.channels, slice.total);
  });
  const auto behind = std::find_if(written.parts.begin(), written.parts.end(),
                                   [&](const Part& old) { return old.begin > part.begin; });
  written.parts.insert(behind, part);
}

std::string OnnxTrace::output(const Tensor& tensor) {
  if (const auto value = find(tensor.view())) return reshaped(*value, tensor.shape()).name;
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

OnnxValue OnnxStep::value(std::size_t port, const ChannelSlice& slice, std::int64_t channels) {
  if (const auto value = trace_.find(event_.ports[port], slice, channels)) return *value;
  refuse(fmt::format("its port '{}' holds neither an input of the model nor what a primitive wrote",
                     port_name(port)));
}

OnnxValue OnnxStep::rows(std::size_t port, std::int64_t channels, const ChannelSlice& slice) {
  const OnnxValue x = value(port, slice, channels);
  return x.shape[-1] == channels ? x : trace_.reshaped(x, {x.shape.numel() / channels, channels});
}

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

}  // namespace fovea
