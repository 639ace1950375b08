// Engine: reverse-mode differentiation over the graph that functions record.
//
// A Node belongs to one output tensor. Its backward returns one gradient per input (undefined where that
// input needs none); the engine alone accumulates them, and adds in place only into a buffer that nobody else
// holds. The walk is iterative, in reverse topological order, and frees a node's saved tensors as soon as it
// has run; so a second backward through the same graph is an Error, and so is a derivative of a derivative
// (gradients carry no graph).
//
// A backward that makes only a part of an input's gradient (of an image's first channels) can take what has been added
// up so far, add its part in place and return it: Node::take_pending(). The engine then has the sum without a pass of its
// own over all of it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tensor.hpp"

namespace fovea {

using Gradients = std::vector<Tensor>;

/// A tensor kept for backward, with the version of its bytes: an in-place change in between is an Error.
class Saved {
 public:
  Saved() = default;
  Saved(const Tensor& tensor);  // NOLINT: implicit, so that save lists read as lists of tensors
  /// Of an image of which backward reads channels that are there: others may be filled meanwhile.
  static Saved of_channels(const Tensor& image);
  const Tensor& get(const char* node_name) const;
  const Tensor& tensor() const { return tensor_; }
  void release() { tensor_ = {}; }

 private:
  std::uint32_t changes() const;

  Tensor tensor_;
  bool of_channels_ = false;
  std::uint32_t version_ = 0;
};

struct GradMeta;

/// The gradients that a walk has added up and not yet passed on.
class PendingGradients {
 public:
  virtual Tensor take(const GradMeta& input) = 0;

 protected:
  ~PendingGradients() = default;
};

struct Node {
  const char* name = "";
  const char* layer = nullptr;  // that recorded it (layer_scope.hpp)
  std::vector<std::shared_ptr<GradMeta>>
      inputs;  // edges: they keep no bytes alive; null where no gradient is wanted
  std::vector<Saved> saved;
  /// Receives the output's gradient (the sole owner of its bytes where possible).
  std::function<Gradients(const Node& node, Tensor dy)> backward;
  bool released = false;
  PendingGradients* pending = nullptr;  // while backward runs

  /// What the nodes before have added up for an input, where there is something and nobody else holds its bytes. Who
  /// takes it adds to it in place and returns it as this input's gradient: an Error otherwise. Undefined elsewhere.
  Tensor take_pending(std::size_t input) const {
    return pending != nullptr && needs(input) ? pending->take(*inputs[input]) : Tensor{};
  }
  const Tensor& saved_at(std::size_t i) const { return saved[i].get(name); }
  bool needs(std::size_t input) const { return inputs[input] != nullptr; }
  void release();
  ~Node();  // iterative, so that a long graph does not overflow the stack
};

/// A tensor's place in the graph.
struct GradMeta {
  Shape shape;
  Dtype dtype = Dtype::f32;
  std::shared_ptr<Node> node;  // null for a leaf
  Tensor grad;                 // of a leaf
  std::vector<std::function<Tensor(const Tensor&)>> hooks;
};

/// The same bytes under another shape, outside the graph.
Tensor alias(const Tensor& tensor, const Shape& shape);

/// Writes x as y's floating type, by the cast primitive.
void cast_into(const Tensor& y, const Tensor& x);

/// Makes `output` the result of a node where gradients are enabled and an input requires one; else returns it
/// as it is.
Tensor record(const char* name, Tensor output, const std::vector<Tensor>& inputs, std::vector<Saved> saved,
              std::function<Gradients(const Node&, Tensor)> backward);

/// Whether record() of these inputs would record: functions then keep what backward needs.
bool will_record(const std::vector<Tensor>& inputs);

/// Bytes that the graph behind `root` keeps for its backward: each Storage once, without those of `besides`.
std::int64_t saved_bytes(const Tensor& root, const std::vector<Tensor>& besides = {});

/// `dy` where its bytes may be overwritten, else an empty tensor of its shape.
Tensor reuse_or_empty(const Tensor& dy);

}  // namespace fovea
