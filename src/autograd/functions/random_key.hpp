// The key of a call's random numbers, as the primitives that draw them take it.
#pragma once

#include "autograd/tensor.hpp"

namespace fovea {

/// i64: seed, offset. A tensor, so that a captured launch can be given other numbers.
inline Tensor random_key(std::uint64_t seed, std::uint64_t offset, Device device) {
  const std::int64_t values[2] = {static_cast<std::int64_t>(seed), static_cast<std::int64_t>(offset)};
  return Tensor::from<std::int64_t>(values, {2}, Dtype::i64, device);
}

}  // namespace fovea
