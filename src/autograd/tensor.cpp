// See tensor.hpp.
#include "autograd/tensor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/engine.hpp"
#include "kernels/cast/cast.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {

struct Tensor::Impl {
  std::shared_ptr<Storage> storage;
  Shape shape;
  Dtype dtype = Dtype::f32;
  std::shared_ptr<GradMeta> meta;
  Tensor shadow;
  std::uint32_t shadow_version = 0;  // of the storage, as the shadow has it
};

namespace {

thread_local bool recording = true;

}  // namespace

void cast_into(const Tensor& y, const Tensor& x) {
  const CastProblem p{.dtype = y.dtype(), .from = x.dtype(), .count = x.numel()};
  dispatch(cast_forward, p, {with_shape(x.view(), {p.count}), with_shape(y.view(), {p.count})});
}

bool grad_enabled() { return recording; }
NoGrad::NoGrad() : before_(recording) { recording = false; }
NoGrad::~NoGrad() { recording = before_; }

Tensor Tensor::empty(const Shape& shape, Dtype dtype, Device device) {
  Tensor t;
  t.impl_ = std::make_shared<Impl>();
  t.impl_->storage = std::make_shared<Storage>(shape, dtype, device);
  t.impl_->shape = shape;
  t.impl_->dtype = dtype;
  return t;
}

Tensor Tensor::zeros(const Shape& shape, Dtype dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  fill_bytes(t.view(), 0);
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, Dtype dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape, Dtype dtype, Device device) {
  if (static_cast<std::int64_t>(values.size()) != shape.numel()) {
    fail(fmt::format("{} values do not fill a tensor of {}", values.size(), to_string(shape)));
  }
  Tensor t = empty(shape, dtype);
  visit_any(dtype, [&](auto zero) {
    using To = decltype(zero);
    To* to = t.data<To>();
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = static_cast<To>(values[i]);
  });
  return t.to(device);
}
template Tensor Tensor::from<float>(std::span<const float>, const Shape&, Dtype, Device);
template Tensor Tensor::from<double>(std::span<const double>, const Shape&, Dtype, Device);
template Tensor Tensor::from<std::int64_t>(std::span<const std::int64_t>, const Shape&, Dtype, Device);
template Tensor Tensor::from<std::uint8_t>(std::span<const std::uint8_t>, const Shape&, Dtype, Device);
template Tensor Tensor::from<simt::bf16>(std::span<const simt::bf16>, const Shape&, Dtype, Device);

const Shape& Tensor::shape() const { return impl_->shape; }
Dtype Tensor::dtype() const { return impl_->dtype; }
Device Tensor::device() const { return impl_->storage->device(); }
const std::shared_ptr<Storage>& Tensor::storage() const { return impl_->storage; }

View Tensor::view() const {
  if (!impl_) return {};
  return {impl_->storage->data(), impl_->shape, impl_->dtype, impl_->storage->device()};
}

double Tensor::item() const {
  if (numel() != 1)
    fail(fmt::format("item() of a tensor with {} elements ({})", numel(), to_string(shape())));
  return to_doubles()[0];
}

std::vector<double> Tensor::to_doubles() const {
  const Tensor on_host = to(Device::cpu);
  std::vector<double> values(static_cast<std::size_t>(numel()));
  visit_any(dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* from = on_host.data<T>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(from[i]);
  });
  return values;
}

Tensor Tensor::clone() const {
  Tensor t = empty(shape(), dtype(), device());
  copy(t.view(), view());
  return t;
}

Tensor Tensor::to(Dtype dtype) const {
  if (dtype == this->dtype()) return *this;
  if (device() != Device::cpu && is_floating(dtype) && is_floating(this->dtype())) {
    const Tensor converted = empty(shape(), dtype, device());
    cast_into(converted, *this);
    return converted;
  }
  const Tensor on_host = to(Device::cpu);
  const Tensor converted = visit_any(this->dtype(), [&](auto zero) {
    using T = decltype(zero);
    return from<T>(std::span<const T>(on_host.data<T>(), static_cast<std::size_t>(numel())), shape(), dtype);
  });
  return converted.to(device());
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor t = empty(shape(), dtype(), device);
  copy(t.view(), view());
  return t;
}

Tensor Tensor::detach() const { return alias(*this, shape()); }

void Tensor::copy_from(const Tensor& source) {
  if (source.shape() != shape() || source.dtype() != dtype()) {
    fail(fmt::format("cannot copy {} of {} into {} of {}", to_string(source.shape()), name_of(source.dtype()),
                     to_string(shape()), name_of(dtype())));
  }
  copy(view(), source.view());
  ++impl_->storage->version;
}

void Tensor::fill(double value) {
  const Tensor on_host = device() == Device::cpu ? *this : empty(shape(), dtype());
  visit_any(dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::fill_n(on_host.data<T>(), numel(), static_cast<T>(value));
  });
  if (device() != Device::cpu) copy(view(), on_host.view());
  ++impl_->storage->version;
}

void Tensor::move_to(Device device) {
  if (device == this->device()) return;
  impl_->storage = to(device).storage();
  impl_->shadow = {};
  zero_grad();
}

Tensor Tensor::bf16_shadow() const {
  if (dtype() != Dtype::f32) {
    fail(fmt::format("a bf16 copy is kept of tensors of f32, not of {}", name_of(dtype())));
  }
  const bool made = bool(impl_->shadow);
  if (!made) impl_->shadow = empty(shape(), Dtype::bf16, device());
  if (!made || impl_->shadow_version != impl_->storage->version) {
    cast_into(impl_->shadow, *this);
    mark_shadow_fresh();
  }
  return impl_->shadow;
}

Tensor Tensor::kept_shadow() const { return impl_->shadow; }

void Tensor::mark_shadow_fresh() const {
  if (!impl_->shadow) return;
  impl_->shadow_version = impl_->storage->version;
  ++impl_->shadow.storage()->version;
}

const std::shared_ptr<GradMeta>& Tensor::meta() const {
  static const std::shared_ptr<GradMeta> none;
  return impl_ ? impl_->meta : none;
}

bool Tensor::requires_grad() const { return meta() != nullptr; }

Tensor& Tensor::set_requires_grad(bool on) {
  if (impl_->meta && impl_->meta->node)
    fail("requires_grad can only be set on a leaf; detach() the tensor first");
  if (on && !is_floating(dtype())) {
    fail(fmt::format("a tensor of {} has no gradient", name_of(dtype())));
  }
  if (!on) impl_->meta.reset();
  if (on && !impl_->meta) {
    impl_->meta = std::make_shared<GradMeta>();
    impl_->meta->shape = shape();
    impl_->meta->dtype = dtype();
  }
  return *this;
}

const Tensor& Tensor::grad() const {
  static const Tensor none;
  return meta() ? meta()->grad : none;
}

void Tensor::set_grad(Tensor grad) {
  if (!meta()) fail("a gradient was set on a tensor that requires none");
  impl_->meta->grad = std::move(grad);
}

void Tensor::zero_grad() {
  if (meta()) impl_->meta->grad = {};
}

void Tensor::register_hook(std::function<Tensor(const Tensor&)> hook) {
  if (!requires_grad()) fail("a hook needs a tensor that requires a gradient");
  impl_->meta->hooks.push_back(std::move(hook));
}

bool Tensor::sole_owner() const { return impl_ && impl_.use_count() == 1 && impl_->storage.use_count() == 1; }

Tensor alias(const Tensor& tensor, const Shape& shape) {
  if (tensor.numel() != shape.numel()) {
    fail(fmt::format("cannot view {} as {}", to_string(tensor.shape()), to_string(shape)));
  }
  Tensor t;
  t.impl_ = std::make_shared<Tensor::Impl>();
  t.impl_->storage = tensor.storage();
  t.impl_->shape = shape;
  t.impl_->dtype = tensor.dtype();
  return t;
}

Tensor with_meta(Tensor tensor, std::shared_ptr<GradMeta> meta) {
  tensor.impl_->meta = std::move(meta);
  return tensor;
}

}  // namespace fovea
