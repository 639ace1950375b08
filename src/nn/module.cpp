// Module: the walk over the tree, and the conversion between K,R,S,C here and K,C,R,S in files. See
// module.hpp.
#include "nn/module.hpp"

#include <fmt/format.h>

#include <cstring>

#include "autograd/engine.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

void Module::append_state(const std::string& prefix, std::vector<NamedTensor>& out) const {
  for (const NamedTensor& own : own_) {
    out.push_back(own);
    out.back().name = prefix + own.name;
  }
  for (const auto& [name, child] : children_) child->append_state(prefix + name + ".", out);
}

std::vector<NamedTensor> Module::state() const {
  std::vector<NamedTensor> all;
  append_state("", all);
  return all;
}

std::vector<NamedTensor> Module::parameters() const {
  std::vector<NamedTensor> all = state();
  std::erase_if(all, [](const NamedTensor& t) { return !t.trainable; });
  return all;
}

std::vector<NamedTensor> Module::buffers() const {
  std::vector<NamedTensor> all = state();
  std::erase_if(all, [](const NamedTensor& t) { return t.trainable; });
  return all;
}

void Module::to(Device device) {
  for (NamedTensor named : state()) {
    if (is_floating(named.tensor.dtype())) named.tensor.move_to(device);
  }
}

void Module::set_training(bool training) {
  training_ = training;
  for (const auto& [name, child] : children_) child->set_training(training);
}

void Module::name_layers(const std::string& name) {
  if (!name.empty()) layer_ = interned(name);
  for (const auto& [child_name, child] : children_)
    child->name_layers(name.empty() ? child_name : name + "." + child_name);
}

Tensor Module::add_parameter(const std::string& name, const Shape& shape, Dtype dtype, Layout layout) {
  Tensor tensor = Tensor::zeros(shape, dtype);
  tensor.set_requires_grad(true);
  own_.push_back({.name = name, .tensor = tensor, .layout = layout, .trainable = true});
  return tensor;
}

Tensor Module::add_buffer(const std::string& name, Tensor value) {
  own_.push_back({.name = name, .tensor = value, .layout = Layout::plain, .trainable = false});
  return value;
}

void Module::add_module(const std::string& name, Module& child) { children_.emplace_back(name, &child); }

void Module::initialise_own(std::uint64_t, const std::string&) {}

void Module::initialise_below(std::uint64_t seed, const std::string& prefix) {
  initialise_own(seed, prefix);
  for (const auto& [name, child] : children_) child->initialise_below(seed, prefix + name + ".");
}

namespace {

void check_rank(const Shape& shape, int rank, const char* what) {
  if (shape.rank() != rank) {
    fail(fmt::format("a tensor of {} is not {} of rank {}", to_string(shape), what, rank));
  }
}

// (k, a, b) -> (k, b, a) for each of the k filters.
template <class T>
void transpose_each(const T* from, T* to, std::int64_t k, std::int64_t a, std::int64_t b) {
  for (std::int64_t i = 0; i < k; ++i, from += a * b, to += a * b) {
    for (std::int64_t j = 0; j < a; ++j) {
      for (std::int64_t l = 0; l < b; ++l) to[l * a + j] = from[j * b + l];
    }
  }
}

Tensor transposed(const Tensor& tensor, const Shape& shape, std::int64_t a, std::int64_t b) {
  const Tensor in = tensor.to(Device::cpu);
  Tensor out = Tensor::empty(shape, in.dtype());
  visit_any(in.dtype(), [&](auto zero) {
    using T = decltype(zero);
    transpose_each(in.data<T>(), out.data<T>(), shape[0], a, b);
  });
  return out;
}

}  // namespace

Shape file_shape(const Shape& shape, Layout layout) {
  switch (layout) {
    case Layout::plain:
      return shape;
    case Layout::filter:
      check_rank(shape, 4, "a filter");
      return {shape[0], shape[3], shape[1], shape[2]};
    case Layout::matrix_1x1:
      check_rank(shape, 2, "a matrix");
      return {shape[0], shape[1], 1, 1};
    case Layout::image_matrix:
      check_rank(shape, 4, "a matrix over an image");
      return {shape[0], shape[1] * shape[2] * shape[3]};
  }
  return shape;
}

namespace {

bool moves_values(Layout layout) { return layout == Layout::filter || layout == Layout::image_matrix; }

}  // namespace

Tensor to_file_layout(const Tensor& tensor, Layout layout) {
  const Shape &s = tensor.shape(), target = file_shape(s, layout);
  return moves_values(layout) ? transposed(tensor, target, s[1] * s[2], s[3])
                              : alias(tensor.to(Device::cpu), target);
}

Tensor from_file_layout(const Tensor& tensor, Layout layout, const Shape& shape) {
  if (tensor.shape() != file_shape(shape, layout)) {
    fail(fmt::format("a tensor of {} in a file is not one of {} here", to_string(tensor.shape()),
                     to_string(shape)));
  }
  return moves_values(layout) ? transposed(tensor, shape, shape[3], shape[1] * shape[2])
                              : alias(tensor, shape);
}

}  // namespace fovea
