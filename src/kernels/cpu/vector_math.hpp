// exp and sigmoid that the compiler can vectorise: no branches, no library calls, no float-to-int
// conversions.
//
//   exp(x) = 2^k e^r,  k = round(x / ln 2),  r = x - k ln 2 in [-ln2/2, ln2/2]
//
// with ln 2 in two parts (Cody and Waite) and e^r by the degree-7 polynomial of Cephes' expf. Rounding adds
// and subtracts 1.5 * 2^23, whose low mantissa bits then hold k. 2^k is applied in two factors, so results
// overflow to infinity and underflow through the subnormals to zero where they should; NaN stays NaN. At most
// 2 ulp from the exact value. Call them inside `#pragma omp simd` loops.
#pragma once

#include <bit>
#include <cstdint>

namespace fovea::vector_math {

namespace detail {
/// 2^k for k in [-126, 127]; unsigned, so that the garbage k of a NaN is no undefined behaviour.
inline float power_of_two(std::uint32_t k) { return std::bit_cast<float>((k + 127u) << 23); }
}  // namespace detail

inline float exp(float x) {
  constexpr float shift = 12582912.0f;  // 1.5 * 2^23
  // Beyond these the result is 0 or infinity anyway. Comparisons are written so that NaN passes through.
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const float shifted = x * 1.44269504088896341f + shift;
  const float k = shifted - shift;
  const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
  float e = 1.9875691500e-4f;
  e = e * r + 1.3981999507e-3f;
  e = e * r + 8.3334519073e-3f;
  e = e * r + 4.1665795894e-2f;
  e = e * r + 1.6666665459e-1f;
  e = e * r + 5.0000001201e-1f;
  e = e * (r * r) + r + 1.0f;
  const std::uint32_t whole = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift);
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(whole) >> 1);
  return e * detail::power_of_two(half) * detail::power_of_two(whole - half);
}

/// 1 / (1 + e^-x), in [0, 1].
inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

}  // namespace fovea::vector_math
