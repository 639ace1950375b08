// OnnxTrace: one forward pass heard as a sequence of primitives, and which tensor of it is which value in the file.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "exchange/onnx_graph.hpp"
#include "kernels/runtime/channel_slice.hpp"
#include "kernels/runtime/trace.hpp"
#include "nn/module.hpp"

namespace fovea {

/// A value in the file, with its shape here: an image N,H,W,C is stored as N,C,H,W there, anything else as it is.
struct OnnxValue {
  std::string name;
  Shape shape;
};

/// Hears this thread's dispatches while it lives.
class OnnxTrace : public TraceSink {
 public:
  OnnxTrace(OnnxGraph& graph, const std::vector<NamedTensor>& state);
  ~OnnxTrace() override;
  OnnxTrace(const OnnxTrace&) = delete;
  OnnxTrace& operator=(const OnnxTrace&) = delete;

  void add_input(const std::string& name, const Tensor& tensor);
  /// The result, in its own shape. Error where no primitive wrote the tensor as it is now.
  std::string output(const Tensor& tensor);
  void record(const TraceEvent& event) override;

 private:
  friend class OnnxStep;
  /// Channels that one primitive wrote.
  struct Part {
    std::int64_t begin, channels;
    std::string name;
    std::uint64_t bytes;  // a hash of them
  };
  struct Written {
    Shape shape;
    std::vector<Part> parts;  // in order; of anything but an image written in slices there is one
  };
  /// Where something with so many elements was written; null where nothing was.
  Written* written_at(const View& view);
  bool holds_value(const View& view);
  /// Nothing where the bytes there are not those that primitives wrote. Channels of several parts are concatenated by a
  /// node, which is one part from then on.
  std::optional<OnnxValue> find(const View& view, const ChannelSlice& slice = {}, std::int64_t channels = 0);
  /// `own` is the slice's shape. What is left of an older image at this place, or under the slice, is forgotten.
  void write(const View& view, const std::string& name, const Shape& own, const ChannelSlice& slice);
  /// Under another shape, by nodes where the file's order needs any.
  OnnxValue reshaped(const OnnxValue& value, const Shape& shape);

  OnnxGraph& graph_;
  std::map<const void*, Written> written_;  // by address: the last to write there
  std::map<const void*, NamedTensor> state_;
  std::map<std::tuple<const void*, Layout, std::string>, std::string>
      constants_;  // what is in the file already
  TraceSink* before_;
};

/// One primitive as it ran: what its nodes are made from.
class OnnxStep {
 public:
  OnnxStep(OnnxTrace& trace, const TraceEvent& event);

  template <class P>
  const P& problem() const {
    return *static_cast<const P*>(event_.problem);
  }
  bool has(std::size_t port) const { return bool(event_.ports[port]); }

  /// What an input port holds, in the shape it was made with, or in another.
  OnnxValue value(std::size_t port, const ChannelSlice& slice = {}, std::int64_t channels = 0);
  OnnxValue value(std::size_t port, const Shape& shape) { return trace_.reshaped(value(port), shape); }
  /// The same where the primitive sees rows of so many channels: an image whose pixels they are stays one.
  OnnxValue rows(std::size_t port, std::int64_t channels, const ChannelSlice& slice = {});
  /// Whether an input port holds a value, rather than a parameter or a constant.
  bool holds_value(std::size_t port) const { return trace_.holds_value(event_.ports[port]); }
  /// A parameter of the model as a constant of the file: `shape` is how it lies here, `layout` how it goes into the file.
  std::string parameter(std::size_t port, const Shape& shape, Layout layout = Layout::plain);
  /// The same, or what no module and no primitive owns: a constant of the model's code.
  std::string parameter_or_constant(std::size_t port, const Shape& shape, Layout layout);
  /// A constant of the op.
  std::string constant(const char* name, const Tensor& tensor);
  std::string scalar(double value);
  std::string integers(const char* name, const std::vector<std::int64_t>& values) {
    return trace_.graph_.integers(name, values);
  }

  std::string node(const char* op, const std::vector<std::string>& inputs,
                   std::initializer_list<std::pair<const char*, OnnxAttribute>> attributes = {}) {
    return trace_.graph_.node(op, inputs, attributes);
  }
  /// What the primitive wrote to an output port, or to channels of the image there.
  void set(std::size_t port, const std::string& name, const Shape& shape, const ChannelSlice& slice = {}) {
    trace_.write(event_.ports[port], name, shape, slice);
  }
  /// Error that names the primitive.
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  const char* port_name(std::size_t port) const { return specs_[port].name; }
  std::string stored(std::size_t port, const std::string& name, const Tensor& tensor, const Shape& shape,
                     Layout layout);

  OnnxTrace& trace_;
  const TraceEvent& event_;
  PortList specs_;
};

}  // namespace fovea
