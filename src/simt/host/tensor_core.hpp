// ldmatrix and mma.sync, host half: warp collectives that compute when the last lane arrives. Layouts: see
// tensor_core.hpp.
#pragma once

#include <bit>

#include "simt/host/core.hpp"

namespace simt {
namespace detail {
void ldmatrix(std::uint32_t* registers, int matrices, bool transposed, const void* row, Site site);
void mma_bf16(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, Site site);
void mma_tf32(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, Site site);
void mma_f64(double* d, double a, double b, Site site);
}  // namespace detail

inline void ldmatrix_x1(std::uint32_t& r, const void* row, SIMT_SITE) {
  detail::ldmatrix(&r, 1, false, row, site);
}
inline void ldmatrix_x1_trans(std::uint32_t& r, const void* row, SIMT_SITE) {
  detail::ldmatrix(&r, 1, true, row, site);
}
inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* row, SIMT_SITE) {
  detail::ldmatrix(r, 2, false, row, site);
}
inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row, SIMT_SITE) {
  detail::ldmatrix(r, 2, true, row, site);
}
inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, SIMT_SITE) {
  detail::ldmatrix(r, 4, false, row, site);
}
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row, SIMT_SITE) {
  detail::ldmatrix(r, 4, true, row, site);
}

/// The float as a tf32 operand: 10 fraction bits, rounded to nearest, ties away from zero.
inline std::uint32_t to_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) {  // infinite, or a NaN, which must not become infinite
    return (bits & 0x007fffffu) == 0 ? bits : 0x7fffe000u;
  }
  return (bits + 0x1000u) & 0xffffe000u;
}

inline void mma_bf16_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                              SIMT_SITE) {
  detail::mma_bf16(d, a, b0, b1, site);
}
inline void mma_tf32_m16n8k8(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                             SIMT_SITE) {
  detail::mma_tf32(d, a, b0, b1, site);
}
inline void mma_f64_m8n8k4(double (&d)[2], double a, double b, SIMT_SITE) { detail::mma_f64(d, a, b, site); }

}  // namespace simt
