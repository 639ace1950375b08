// Tensor: a shared handle of Storage, shape, gradient and the Node that made it.
//
// Contiguous, row-major; images N,H,W,C, filters K,R,S,C. Copying a Tensor copies the handle. reshape() is
// the only view. A tensor takes part in the graph where it requires a gradient itself (a leaf) or was made
// from one that does while gradients are enabled (NoGrad turns them off on this thread).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea {

struct GradMeta;  // engine.hpp: a tensor's place in the graph, without its bytes

class Tensor {
 public:
  Tensor() = default;  // undefined: an absent optional input

  /// Contents unspecified.
  static Tensor empty(const Shape& shape, Dtype dtype, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, Dtype dtype, Device device = Device::cpu);
  static Tensor full(const Shape& shape, double value, Dtype dtype, Device device = Device::cpu);
  static Tensor scalar(double value, Dtype dtype, Device device = Device::cpu) {
    return full({}, value, dtype, device);
  }
  /// Copies; values are converted to dtype. Throws Error where the count does not match the shape.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Dtype dtype, Device device = Device::cpu);

  explicit operator bool() const { return impl_ != nullptr; }
  const Shape& shape() const;
  std::int64_t numel() const { return shape().numel(); }
  Dtype dtype() const;
  Device device() const;
  View view() const;  // of an undefined tensor: an absent port
  const std::shared_ptr<Storage>& storage() const;

  /// On a device the pointer is the device's: for kernels alone.
  template <class T>
  T* data() const {
    return view().as<T>();
  }
  /// The one element of a tensor with one, as a double.
  double item() const;
  /// All elements, converted to double.
  std::vector<double> to_doubles() const;
  Tensor clone() const;                  // a deep copy outside the graph
  Tensor to(Dtype dtype) const;          // converted, outside the graph; this tensor where it has that dtype
  Tensor to(Device device) const;        // copied, outside the graph; this tensor where it lies there
  Tensor detach() const;                 // the same bytes outside the graph
  void copy_from(const Tensor& source);  // in place, same shape and dtype, from any device
  void fill(double value);               // in place
  /// In place: every handle of this tensor has its bytes there, and no gradient. What was made from it before keeps
  /// the old bytes.
  void move_to(Device device);

  /// The bf16 copy of this f32 tensor that is kept beside it (training in bf16 reads copies of fp32 masters); made
  /// anew where the tensor changed since. Undefined until asked for: kept_shadow(). What writes both says so.
  Tensor bf16_shadow() const;
  Tensor kept_shadow() const;
  void mark_shadow_fresh() const;

  bool requires_grad() const;
  Tensor& set_requires_grad(bool on);  // a leaf of a floating type
  const Tensor& grad() const;          // undefined until a backward reached this leaf
  void set_grad(Tensor grad);
  void zero_grad();  // drops it
  /// Called with the whole gradient of this tensor, intermediate ones included, as backward passes through;
  /// what it returns, if defined, takes the gradient's place.
  void register_hook(std::function<Tensor(const Tensor& grad)> hook);

  /// Runs the graph backward from this tensor with the seed `dy` (default: one, for a tensor with one
  /// element), adding to the gradients of the leaves. The graph is freed on the way: see engine.hpp.
  void backward(const Tensor& dy = {}) const;

  /// Null where the tensor takes no part in a graph.
  const std::shared_ptr<GradMeta>& meta() const;
  /// Whether nobody else holds this handle's bytes, so that they may be reused in place.
  bool sole_owner() const;

 private:
  friend Tensor with_meta(Tensor tensor, std::shared_ptr<GradMeta> meta);
  friend Tensor alias(const Tensor& tensor, const Shape& shape);
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Whether functions record nodes on this thread.
bool grad_enabled();

/// Turns recording off for a scope.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

}  // namespace fovea
