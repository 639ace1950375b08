// ONNX's messages, through the classes that Debian's libonnx was built with. See onnx_graph.hpp.
#include "exchange/onnx_graph.hpp"

#include <fmt/format.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <onnx/onnx_pb.h>

#include <exception>
#include <span>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr std::int64_t ir_version = 8, opset = 17;  // what ONNX 1.12 brought: LayerNormalization is in it
constexpr std::size_t most_bytes = (std::size_t{1} << 31) - 1;

void describe(onnx::ValueInfoProto& value, const std::string& name, const Shape& shape) {
  value.set_name(name);
  onnx::TypeProto_Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  type.mutable_shape()->add_dim()->set_dim_param("batch");
  const auto add = [&](int i) { type.mutable_shape()->add_dim()->set_dim_value(shape[i]); };
  const bool image = shape.rank() == 4;
  if (image) add(3);
  for (int i = 1; i < shape.rank() - (image ? 1 : 0); ++i) add(i);
}

void set_attribute(onnx::AttributeProto& to, const char* name, const OnnxAttribute& value) {
  to.set_name(name);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    to.set_type(onnx::AttributeProto::INT);
    to.set_i(*integer);
  } else if (const auto* number = std::get_if<double>(&value)) {
    to.set_type(onnx::AttributeProto::FLOAT);
    to.set_f(static_cast<float>(*number));
  } else {
    to.set_type(onnx::AttributeProto::INTS);
    for (const std::int64_t i : std::get<std::vector<std::int64_t>>(value)) to.add_ints(i);
  }
}

/// protobuf's way into an AtomicFile. It writes in destructors, so an Error waits for rethrow().
class IntoFile : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit IntoFile(AtomicFile& file) : file_(file) {}
  bool Write(const void* data, int size) override {
    if (error_) return false;
    try {
      file_.write(std::span(static_cast<const std::byte*>(data), static_cast<std::size_t>(size)));
    } catch (const Error&) {
      error_ = std::current_exception();
    }
    return !error_;
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  AtomicFile& file_;
  std::exception_ptr error_;
};

}  // namespace

void check_onnx_size(const std::string& path, std::size_t bytes) {
  if (bytes <= most_bytes) return;
  fail(fmt::format("{} would have {} bytes, and one ONNX file holds at most {}; export a smaller model", path,
                   bytes, most_bytes));
}

OnnxGraph::OnnxGraph(const std::string& name, const std::string& version,
                     const std::map<std::string, std::string>& metadata)
    : model_(std::make_unique<onnx::ModelProto>()), graph_(model_->mutable_graph()) {
  model_->set_ir_version(ir_version);
  model_->set_producer_name("fovea");
  model_->set_producer_version(version);
  model_->add_opset_import()->set_version(opset);
  for (const auto& [key, value] : metadata) {
    onnx::StringStringEntryProto& entry = *model_->add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  graph_->set_name(name);
}

OnnxGraph::~OnnxGraph() = default;

std::string OnnxGraph::free_name(const std::string& wanted) {
  for (std::string name = wanted;;) {
    const int before = taken_[name]++;
    if (before == 0) return name;
    name = fmt::format("{}.{}", wanted, before);
  }
}

void OnnxGraph::add_input(const std::string& name, const Shape& shape) {
  describe(*graph_->add_input(), free_name(name), shape);
}
void OnnxGraph::add_output(const std::string& name, const Shape& shape) {
  describe(*graph_->add_output(), name, shape);
}

std::string OnnxGraph::node(const char* op, const std::vector<std::string>& inputs,
                            std::initializer_list<std::pair<const char*, OnnxAttribute>> attributes) {
  onnx::NodeProto& node = *graph_->add_node();
  node.set_op_type(op);
  for (const std::string& input : inputs) node.add_input(input);
  for (const auto& [name, value] : attributes) set_attribute(*node.add_attribute(), name, value);
  node.set_name(free_name(fmt::format("{}_{}", op, graph_->node_size())));
  return *node.add_output() = node.name() + ".y";
}

void OnnxGraph::rename(const std::string& from, const std::string& to) {
  for (onnx::NodeProto& node : *graph_->mutable_node()) {
    for (std::string& input : *node.mutable_input()) input = input == from ? to : input;
    for (std::string& output : *node.mutable_output()) output = output == from ? to : output;
  }
}

std::string OnnxGraph::constant(const std::string& name, const Tensor& tensor,
                                const std::vector<std::int64_t>& dims) {
  onnx::TensorProto& stored = *graph_->add_initializer();
  stored.set_name(free_name(name));
  stored.set_data_type(onnx::TensorProto::FLOAT);
  for (const std::int64_t d : dims) stored.add_dims(d);
  stored.set_raw_data(tensor.data<float>(), static_cast<std::size_t>(tensor.view().bytes()));
  return stored.name();
}

std::string OnnxGraph::integers(const std::string& name, const std::vector<std::int64_t>& values) {
  onnx::TensorProto& stored = *graph_->add_initializer();
  stored.set_name(free_name(name));
  stored.set_data_type(onnx::TensorProto::INT64);
  stored.add_dims(static_cast<std::int64_t>(values.size()));
  for (const std::int64_t value : values) stored.add_int64_data(value);
  return stored.name();
}

void OnnxGraph::write(const std::string& path) const {
  check_onnx_size(path, model_->ByteSizeLong());
  write_file_atomically(path, [&](AtomicFile& file) {
    IntoFile into(file);
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&into, 1 << 20);
    model_->SerializeToZeroCopyStream(&stream);
    stream.Flush();
    into.rethrow();
  });
}

}  // namespace fovea
