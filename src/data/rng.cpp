// Random numbers from Random123's Philox. See rng.hpp.
#include "data/rng.hpp"

#include <Random123/philox.h>

#include <cmath>
#include <numbers>

#include "kernels/runtime/error.hpp"

namespace fovea {

PhiloxStream::PhiloxStream(std::uint64_t seed, Purpose purpose, std::uint32_t a, std::uint32_t b)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      counter_{0, static_cast<std::uint32_t>(purpose), a, b} {}

std::uint32_t PhiloxStream::bits() {
  if (used_ == 4) {
    const r123::Philox4x32 philox;
    const auto block = philox({{counter_[0], counter_[1], counter_[2], counter_[3]}}, {{key_[0], key_[1]}});
    for (int i = 0; i < 4; ++i) block_[i] = block[i];
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

double PhiloxStream::uniform() {
  const std::uint64_t high = bits() >> 6, low = bits() >> 5;  // 26 and 27 bits
  return static_cast<double>((high << 27) | low) * 0x1p-53;
}

double PhiloxStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::uint32_t PhiloxStream::below(std::uint32_t n) {
  if (n == 0) fail("a random number below 0 was asked for");
  // Lemire (2019): the high half of a 32 x 32 bit product, with the few values that would be too frequent
  // rejected.
  const std::uint32_t threshold = -n % n;
  for (;;) {
    const std::uint64_t product = static_cast<std::uint64_t>(bits()) * n;
    if (static_cast<std::uint32_t>(product) >= threshold) return static_cast<std::uint32_t>(product >> 32);
  }
}

}  // namespace fovea
