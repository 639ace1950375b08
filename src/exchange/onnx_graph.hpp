// OnnxGraph: the file under construction; nodes, initializers, inputs and outputs by name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "autograd/tensor.hpp"

namespace onnx {
class GraphProto;
class ModelProto;
}  // namespace onnx

namespace fovea {

using OnnxAttribute = std::variant<std::int64_t, double, std::vector<std::int64_t>>;

class OnnxGraph {
 public:
  OnnxGraph(const std::string& name, const std::string& version,
            const std::map<std::string, std::string>& metadata);
  ~OnnxGraph();
  OnnxGraph(const OnnxGraph&) = delete;
  OnnxGraph& operator=(const OnnxGraph&) = delete;

  /// Of f32. The first dimension of `shape` is the symbolic "batch"; an image, N,H,W,C here, is N,C,H,W in the file.
  void add_input(const std::string& name, const Shape& shape);
  void add_output(const std::string& name, const Shape& shape);

  /// Appends a node with one output and returns that output's name. An input of an empty name is an absent option.
  std::string node(const char* op, const std::vector<std::string>& inputs,
                   std::initializer_list<std::pair<const char*, OnnxAttribute>> attributes = {});
  /// Gives a value another name.
  void rename(const std::string& from, const std::string& to);

  /// Constants by name, each once: a name that is taken gets a number behind it. Tensor: f32 on the CPU, stored with
  /// these dimensions. Both return the name in the file.
  std::string constant(const std::string& name, const Tensor& tensor, const std::vector<std::int64_t>& dims);
  std::string integers(const std::string& name, const std::vector<std::int64_t>& values);

  /// Error where the file would be beyond protobuf's limit of 2 GiB.
  void write(const std::string& path) const;

 private:
  std::string free_name(const std::string& wanted);

  std::unique_ptr<onnx::ModelProto> model_;
  onnx::GraphProto* graph_;
  std::map<std::string, int> taken_;  // names, and how often they were asked for
};

/// Error naming the file where so many bytes are too many for one.
void check_onnx_size(const std::string& path, std::size_t bytes);

}  // namespace fovea
