// Difference: how far two arrays are from each other, in the measures in which kernels are compared.
//
//   relative     || a - b || / || b ||, the measure of the kernel tests; where b is zero, || a ||
//   elementwise  max |a - b| / max(|a|, |b|)
//   ulp          max of the number of values of a's dtype between a and b
//   share        of integers and packed bits: how many of the elements differ
//
// NaN and Inf never compare equal, not even to themselves: they make all three infinite. An index or a mask bit that
// falls on the other side of a tie is no rounding error, so integers have a measure of their own.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/runtime/view.hpp"

namespace fovea {

struct Difference {
  double relative = 0, elementwise = 0, ulp = 0, share = 0;
  std::int64_t not_finite = 0;  // elements of which a or b is NaN or Inf
  std::int64_t worst = 0;       // the element that is furthest off; of integers the first that differs
  double a = 0, b = 0;          // there

  /// What a bound is held against: the larger of `relative` and `share`.
  double largest() const { return relative > share ? relative : share; }
  /// Of every measure the larger one; `worst`, `a` and `b` stay.
  void keep_largest(const Difference& other);
};

/// Of views of one shape on the host. `b` has the dtype of `a`, or holds in f64 what `a` was rounded from: then ulp
/// is counted to b rounded to a's dtype.
Difference difference_of(const View& a, const View& b);

/// "[0, 3, 1]": the place of an element.
std::string index_text(const Shape& shape, std::int64_t element);

}  // namespace fovea
