// exp, sigmoid and the normal distribution that the compiler can vectorise: no branches, no library calls, no float-to-int
// conversions.
//
//   exp(x) = 2^k e^r,  k = round(x / ln 2),  r = x - k ln 2 in [-ln2/2, ln2/2]
//
// with ln 2 in two parts (Cody and Waite) and e^r by the degree-7 polynomial of Cephes' expf. Rounding adds
// and subtracts 1.5 * 2^23, whose low mantissa bits then hold k. 2^k is applied in two factors, so results
// overflow to infinity and underflow through the subnormals to zero where they should; NaN stays NaN. At most
// 2 ulp from the exact value. Call them inside `#pragma omp simd` loops.
//
// The normal distribution (and with it erf(x) = 2 Phi(x sqrt 2) - 1) by its tail, so that no digits cancel on the left:
//
//   Phi(-t) = e^(-t^2/2) Q(t),  Q(t) = erfcx(t / sqrt 2) / 2,  t >= 0
//
// with Q a polynomial of degree 9 in v = (t - 3) / (t + 3), fitted here to Q by weighted least squares, the weights
// iterated towards the smallest largest relative error (Lawson), which is 6.6e-9 over [0, 13.3], where Phi becomes
// subnormal. What remains is rounding: at most 4 ulp from the exact value for x >= -1 (5 without fused multiply-adds), and
// further left x^2 / 2 ulp more, those of e^(-x^2/2), whose argument is rounded.
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

/// The standard normal distribution at x: the share below, Phi, and the density phi.
struct Normal {
  float share, density;
};
inline Normal normal(float x) {
  float t = x < 0.0f ? -x : x;
  t = t > 40.0f ? 40.0f : t;  // NaN stays
  const float v = (t - 3.0f) / (t + 3.0f);
  float q = 5.41509514891e-05f;
  q = q * v + 0.000116037518135f;
  q = q * v - 0.000339911389014f;
  q = q * v - 0.000984182903627f;
  q = q * v + 0.00290470262587f;
  q = q * v + 0.00613218310422f;
  q = q * v - 0.0462133138088f;
  q = q * v + 0.123225021693f;
  q = q * v - 0.206402617928f;
  q = q * v + 0.121513947724f;
  const float e = exp(-0.5f * x * x);
  const float tail = e * q;
  return {x < 0.0f ? tail : 1.0f - tail, 0.398942280401f * e};
}

}  // namespace fovea::vector_math
