// Dtype, Shape and View: all that a kernel ever sees of a tensor.
//
// Tensors are contiguous and row-major; images are N,H,W,C and filters K,R,S,C. A View owns nothing.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "kernels/runtime/device.hpp"
#include "simt/bf16.hpp"

namespace fovea {

enum class Dtype : std::int32_t { f32, f64, u8, i64, bf16 };

std::string_view name_of(Dtype dtype);
Dtype parse_dtype(std::string_view name);  // the floating types a user may name; UsageError otherwise

constexpr std::int64_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::u8:
      return 1;
    case Dtype::bf16:
      return 2;
    case Dtype::f32:
      return 4;
    case Dtype::f64:
    case Dtype::i64:
      return 8;
  }
  return 0;
}

/// What the small tensors of an op hold (biases, scales, statistics, gradients of parameters) where its large ones
/// hold `dtype`: f32 for bf16, else the same.
constexpr Dtype param_dtype(Dtype dtype) { return dtype == Dtype::bf16 ? Dtype::f32 : dtype; }

constexpr bool is_floating(Dtype dtype) { return dtype != Dtype::u8 && dtype != Dtype::i64; }

template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return Dtype::f32;
  else if constexpr (std::is_same_v<T, double>)
    return Dtype::f64;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return Dtype::u8;
  else if constexpr (std::is_same_v<T, simt::bf16>)
    return Dtype::bf16;
  else {
    static_assert(std::is_same_v<T, std::int64_t>, "fovea has no such element type");
    return Dtype::i64;
  }
}

[[noreturn]] void fail_not_float(Dtype dtype);

/// Calls f with a zero of the element type: `visit_float(dtype, [&](auto zero) { using T = decltype(zero);
/// ... })`. For code with a form in f32 and in f64: bf16 is an Error, since what computes in it is for a
/// device, or rounds at places of its own.
template <class F>
decltype(auto) visit_float(Dtype dtype, F&& f) {
  if (dtype != Dtype::f32 && dtype != Dtype::f64) fail_not_float(dtype);
  return dtype == Dtype::f64 ? f(double{}) : f(float{});
}

[[noreturn]] void fail_unknown_dtype(Dtype dtype);

/// The same over every element type.
template <class F>
decltype(auto) visit_any(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f32:
      return f(float{});
    case Dtype::f64:
      return f(double{});
    case Dtype::u8:
      return f(std::uint8_t{});
    case Dtype::i64:
      return f(std::int64_t{});
    case Dtype::bf16:
      return f(simt::bf16{});
  }
  fail_unknown_dtype(dtype);
}

/// Up to five dimensions, outermost first. Rank 0 is a scalar with one element.
class Shape {
 public:
  static constexpr int max_rank = 5;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims) {
    assert(dims.size() <= max_rank);
    for (std::int64_t d : dims) dims_[static_cast<std::size_t>(rank_++)] = d;
  }

  constexpr int rank() const { return rank_; }
  constexpr std::int64_t operator[](int i) const {
    return dims_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)];
  }
  constexpr std::int64_t& operator[](int i) { return dims_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)]; }
  constexpr void push_back(std::int64_t d) {
    assert(rank_ < max_rank);
    dims_[static_cast<std::size_t>(rank_++)] = d;
  }
  constexpr std::int64_t numel() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[static_cast<std::size_t>(i)];
    return n;
  }
  constexpr bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, max_rank> dims_{};
  int rank_ = 0;
};

/// The same but for the last dimension. Not of a scalar.
constexpr Shape with_channels(Shape shape, std::int64_t channels) {
  shape[-1] = channels;
  return shape;
}

std::string to_string(const Shape& shape);  // "8x224x224x3"; "scalar" for rank 0

/// Non-owning pointer + shape + dtype. A default View is an absent optional port.
struct View {
  void* data = nullptr;
  Shape shape;
  Dtype dtype = Dtype::f32;
  Device device = Device::cpu;

  explicit operator bool() const { return data != nullptr; }
  std::int64_t numel() const { return shape.numel(); }
  std::int64_t bytes() const { return shape.numel() * size_of(dtype); }

  /// The elements as T; null where the port is absent. The dtype was checked by dispatch().
  template <class T>
  T* as() const {
    assert(data == nullptr || dtype == dtype_of<std::remove_const_t<T>>());
    return static_cast<T*>(data);
  }
};

/// The same bytes under another shape.
inline View with_shape(View view, const Shape& shape) {
  view.shape = shape;
  return view;
}

}  // namespace fovea
