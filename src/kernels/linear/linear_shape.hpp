// The launch shape of linear's CUDA kernels: a pure function of the sizes and of what the machine allows, so that it is
// tested without one.
#pragma once

#include <cstdint>

#include "simt/error.hpp"

namespace fovea {

/// A product of rows x columns values, each a sum of `depth` terms, in square tiles; where there are fewer tiles than a
/// device has room for, the sums are cut into parts.
struct LinearShape {
  static constexpr int tile = 64;  // rows and columns of a block
  static constexpr int step = 16;  // terms that lie in shared memory at a time
  static constexpr int threads = 256;
  static constexpr int chain = 128;  // terms that are added one after another before they join the rest
  std::int64_t row_tiles = 1, column_tiles = 1;
  std::int64_t parts = 1;
  std::int64_t depth_per_part = 1;  // a multiple of `step`; the last part may have less, but none is empty

  std::int64_t blocks() const { return row_tiles * column_tiles * parts; }
};

/// Two blocks for each multiprocessor, and at least 256 terms for each part.
LinearShape linear_shape(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                         const simt::Limits& limits);

}  // namespace fovea
