// Module: named parameters and buffers, in the order and under the names of the PyTorch model they match.
//
// A module registers its tensors and its children in its constructor; names are joined with dots. Modules are
// neither copied nor moved, since their parents hold pointers to them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "autograd/tensor.hpp"
#include "kernels/runtime/layer_scope.hpp"

namespace fovea {

/// How a tensor lies in a file: `plain` as it is; `filter` is K,R,S,C here and K,C,R,S in files (PyTorch's
/// layout); `matrix_1x1` is out,in here and out,in,1,1 in files; `image_matrix`, of a fully connected layer behind an
/// image, is out,H,W,C here and out,(C H W) in files.
enum class Layout : std::uint8_t { plain, filter, matrix_1x1, image_matrix };

struct NamedTensor {
  std::string name;
  Tensor tensor;
  Layout layout = Layout::plain;
  bool trainable = true;  // false: a buffer
};

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Parameters and buffers, depth first, in registration order: PyTorch's state_dict order.
  std::vector<NamedTensor> state() const;
  std::vector<NamedTensor> parameters() const;
  std::vector<NamedTensor> buffers() const;

  /// Moves parameters and buffers in place. Counts (i64) stay on the CPU, where they are counted.
  void to(Device device);

  /// Of this module and all below it. A new module is in training.
  void set_training(bool training);
  bool training() const { return training_; }

  /// Gives this module and all below it their places in the tree ("layer1.0.conv2"), under which profiles list their
  /// work; this one's own is `name`.
  void name_layers(const std::string& name = "");

  /// Sets every parameter and buffer to its initial value, a function of (seed, full name, shape) alone: the
  /// order of construction and what else the model has do not matter, and f32 gets f64's values, rounded.
  void initialise(std::uint64_t seed) { initialise_below(seed, ""); }

 protected:
  /// What a forward does first, so that profiles know whose work it is.
  LayerScope scope() const { return LayerScope(layer_); }
  /// A leaf that requires a gradient; zeros until initialise().
  Tensor add_parameter(const std::string& name, const Shape& shape, Dtype dtype,
                       Layout layout = Layout::plain);
  Tensor add_buffer(const std::string& name, Tensor value);
  /// The child must live as long as this module (a member, usually).
  void add_module(const std::string& name, Module& child);
  /// Sets this module's own tensors, not its children's, by init.hpp; `prefix` goes before their names.
  virtual void initialise_own(std::uint64_t seed, const std::string& prefix);

 private:
  void append_state(const std::string& prefix, std::vector<NamedTensor>& out) const;
  void initialise_below(std::uint64_t seed, const std::string& prefix);

  std::vector<NamedTensor> own_;
  std::vector<std::pair<std::string, Module*>> children_;  // after own_, as PyTorch lists them
  bool training_ = true;
  const char* layer_ = nullptr;  // interned; null until named
};

/// A tensor's shape and values as files have them, and back to `shape`: on the CPU, copies outside the graph where the
/// layout moves values. Throws Error where the rank or the count does not fit.
Shape file_shape(const Shape& shape, Layout layout);
Tensor to_file_layout(const Tensor& tensor, Layout layout);
Tensor from_file_layout(const Tensor& tensor, Layout layout, const Shape& shape);

}  // namespace fovea
