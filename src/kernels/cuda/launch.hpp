// What every kernel file's launchers need: the type a kernel sums in, the problem's element type as a type, streams
// and limits in the words of the SIMT layer. Included by kernel files only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "kernels/runtime/primitive.hpp"
#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

template <class T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
/// What sums of T are made in, and what the small tensors of a T problem hold (param_dtype()): float, but double
/// for double.
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

/// Elements of T in 16 bytes, the widest access.
template <class T>
constexpr int vector_of = 16 / static_cast<int>(sizeof(T));

/// Calls f with a zero of the element type: float, double or bf16.
template <class F>
void visit_element(Dtype dtype, F&& f) {
  if (dtype == Dtype::bf16) return f(simt::bf16{});
  if (dtype == Dtype::f64) return f(double{});
  f(float{});
}

/// Whether all of these can be read and written 16 bytes at a time, where rows of C elements can.
inline bool aligned_16(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return false;
  }
  return true;
}

inline bool aligned_16(Ports ports) {
  for (const View& port : ports) {
    if (!aligned_16({port.data})) return false;
  }
  return true;
}

/// visit_element() with the widest vector that divides `channels`, or 1: f(zero, std::integral_constant<int, V>).
template <class F>
void visit_vector(Dtype dtype, std::int64_t channels, bool aligned, F&& f) {
  visit_element(dtype, [&](auto zero) {
    constexpr int vector = vector_of<decltype(zero)>;
    if (aligned && channels % vector == 0) {
      f(zero, std::integral_constant<int, vector>{});
    } else {
      f(zero, std::integral_constant<int, 1>{});
    }
  });
}

inline simt::stream_t stream_of(Stream stream) { return static_cast<simt::stream_t>(stream.handle); }

/// What a shape function says on this machine; none where there is no device.
template <class F>
auto on_this_machine(F&& shape_for) -> decltype(shape_for(simt::Limits{})) {
  try {
    return shape_for(simt::limits());
  } catch (const simt::Error&) {
    return {};
  }
}

/// For a kernel that takes every problem wherever it can run at all.
inline bool runs_here() {
  return on_this_machine([](const simt::Limits&) { return std::optional(true); }).has_value();
}

/// Blocks of `per_block` items for `count` of them; at least one.
inline unsigned blocks_for(std::int64_t count, std::int64_t per_block) {
  return static_cast<unsigned>(count < 1 ? 1 : (count + per_block - 1) / per_block);
}

}  // namespace fovea::SIMT_WORLD
