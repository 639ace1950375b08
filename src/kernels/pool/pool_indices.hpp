// The indices port of max_pool on the host: how four 2-bit indices share a byte. See pool.hpp.
#pragma once

#include <cstdint>
#include <cstring>

namespace fovea {

/// Packs indices, one a byte, from element 0 on.
inline void pack_pool_indices(const std::uint8_t* indices, std::int64_t count, std::uint8_t* packed) {
  const std::int64_t whole = count / 4;
#pragma omp simd
  for (std::int64_t i = 0; i < whole; ++i) {
    std::uint32_t four;
    std::memcpy(&four, indices + 4 * i, 4);
    packed[i] = static_cast<std::uint8_t>(four | four >> 6 | four >> 12 | four >> 18);
  }
  if (count == 4 * whole) return;
  packed[whole] = 0;
  for (std::int64_t i = 4 * whole; i < count; ++i)
    packed[whole] = static_cast<std::uint8_t>(packed[whole] | indices[i] << 2 * (i % 4));
}

/// The indices of elements [4 first, 4 (first + bytes)), one a byte.
inline void unpack_pool_indices(const std::uint8_t* packed, std::int64_t first, std::int64_t bytes,
                                std::uint8_t* indices) {
  const std::uint8_t* from = packed + first;
#pragma omp simd
  for (std::int64_t i = 0; i < bytes; ++i) {
    const std::uint32_t four = from[i];
    const std::uint32_t spread = (four | four << 6 | four << 12 | four << 18) & 0x03030303u;
    std::memcpy(indices + 4 * i, &spread, 4);
  }
}

}  // namespace fovea
