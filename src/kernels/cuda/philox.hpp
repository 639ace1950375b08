// Philox4x32-10 (Salmon et al., SC'11): four random words of a counter and a key, the same as Random123's.
#pragma once

#include <cstdint>

#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

struct PhiloxWords {
  std::uint32_t at[4];
};

__device__ __forceinline__ PhiloxWords philox(PhiloxWords counter, std::uint32_t key0, std::uint32_t key1) {
  constexpr std::uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  constexpr std::uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{multiplier0} * counter.at[0];
    const std::uint64_t product1 = std::uint64_t{multiplier1} * counter.at[2];
    counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.at[1] ^ key0,
                static_cast<std::uint32_t>(product1),
                static_cast<std::uint32_t>(product0 >> 32) ^ counter.at[3] ^ key1,
                static_cast<std::uint32_t>(product0)}};
    key0 += weyl0;
    key1 += weyl1;
  }
  return counter;
}

/// Of elements 4 block .. 4 block + 3; `key` is {seed, offset}. The host's dropout_words() are these.
__device__ __forceinline__ PhiloxWords random_words(const std::int64_t* key, std::uint64_t block) {
  const auto seed = static_cast<std::uint64_t>(key[0]), offset = static_cast<std::uint64_t>(key[1]);
  return philox({{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                  static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(offset >> 32)}},
                static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

}  // namespace fovea::SIMT_WORLD
