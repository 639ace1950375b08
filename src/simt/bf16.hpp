// bf16: the upper half of an IEEE float (1 sign, 8 exponent, 7 fraction bits), one type for both worlds.
//
// Conversion from float rounds to nearest even and turns every NaN into 0x7fff, as cvt.rn.bf16.f32 and
// __float2bfloat16_rn do; the bits are those of CUDA's __nv_bfloat16. Arithmetic is done in float.
#pragma once

#include <bit>
#include <cstdint>

#include "simt/world.hpp"

namespace simt {

struct alignas(2) bf16 {
  std::uint16_t bits;

  bf16() = default;
  SIMT_BOTH explicit bf16(float value) : bits(round(value)) {}
  SIMT_BOTH operator float() const {
    const std::uint32_t wide = std::uint32_t(bits) << 16;
#if defined(__CUDA_ARCH__)
    return __uint_as_float(wide);
#else
    return std::bit_cast<float>(wide);
#endif
  }

 private:
  SIMT_BOTH static std::uint16_t round(float value) {
#if defined(__CUDA_ARCH__)
    std::uint16_t rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(value));
    return rounded;
#else
    const std::uint32_t wide = std::bit_cast<std::uint32_t>(value);
    if ((wide & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return std::uint16_t((wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16);
#endif
  }
};

}  // namespace simt
