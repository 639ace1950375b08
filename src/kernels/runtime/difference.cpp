// See difference.hpp. Floats of one sign are ordered as their bits are; so the distance of two in ULP is the difference
// of their bits once those of negative numbers are turned round.
#include "kernels/runtime/difference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// From the lowest number to the highest, as 0, 1, 2, ...; both zeros are one.
template <class T>
std::uint64_t place_of(T value) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t,
                                  std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint16_t>>;
  constexpr Bits sign = Bits{1} << (sizeof(T) * 8 - 1);
  const Bits bits = std::bit_cast<Bits>(value);
  return bits & sign ? sign - (bits & Bits(~sign)) : std::uint64_t{sign} + bits;
}

template <class T>
double ulps_between(T a, T b) {
  const std::uint64_t x = place_of(a), y = place_of(b);
  return static_cast<double>(x > y ? x - y : y - x);
}

template <class T, class B>
Difference floating(const T* a, const B* b, std::int64_t count) {
  Difference d;
  double squares = 0, norm = 0, furthest = -1;
  for (std::int64_t i = 0; i < count; ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    const bool finite = std::isfinite(x) && std::isfinite(y);
    const double off = finite ? std::abs(x - y) : infinity;
    if (off > furthest) {
      furthest = off;
      d.worst = i;
      d.a = x;
      d.b = y;
    }
    if (!finite) {
      ++d.not_finite;
      continue;
    }
    squares += off * off;
    norm += y * y;
    if (off == 0) continue;
    d.elementwise = std::max(d.elementwise, off / std::max(std::abs(x), std::abs(y)));
    d.ulp = std::max(d.ulp, ulps_between(a[i], static_cast<T>(y)));
  }
  d.relative = norm > 0 ? std::sqrt(squares / norm) : std::sqrt(squares);
  if (d.not_finite > 0) d.relative = d.elementwise = d.ulp = infinity;
  return d;
}

template <class T>
Difference integral(const T* a, const T* b, std::int64_t count) {
  Difference d;
  std::int64_t differing = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (a[i] == b[i] || differing++ > 0) continue;
    d.worst = i;
    d.a = static_cast<double>(a[i]);
    d.b = static_cast<double>(b[i]);
  }
  if (count > 0) d.share = static_cast<double>(differing) / static_cast<double>(count);
  return d;
}

}  // namespace

void Difference::keep_largest(const Difference& other) {
  relative = std::max(relative, other.relative);
  elementwise = std::max(elementwise, other.elementwise);
  ulp = std::max(ulp, other.ulp);
  share = std::max(share, other.share);
  not_finite += other.not_finite;
}

Difference difference_of(const View& a, const View& b) {
  if (a.shape != b.shape || (b.dtype != a.dtype && !(is_floating(a.dtype) && b.dtype == Dtype::f64))) {
    fail(fmt::format("{} of {} cannot be compared with {} of {}", name_of(a.dtype), to_string(a.shape),
                     name_of(b.dtype), to_string(b.shape)));
  }
  return visit_any(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>) {
      return integral(a.as<T>(), b.as<T>(), a.numel());
    } else {
      return b.dtype == Dtype::f64 ? floating(a.as<T>(), b.as<double>(), a.numel())
                                   : floating(a.as<T>(), b.as<T>(), a.numel());
    }
  });
}

std::string index_text(const Shape& shape, std::int64_t element) {
  std::string text;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    text = fmt::format("{}{}{}", element % shape[i], text.empty() ? "" : ", ", text);
    element /= shape[i];
  }
  return fmt::format("[{}]", text);
}

}  // namespace fovea
