// The launch shapes of the depthwise CUDA kernels: pure functions of the problem and of what the machine allows, so that
// they are tested without one.
#pragma once

#include <cstdint>

#include "kernels/conv2d/conv2d.hpp"
#include "simt/error.hpp"

namespace fovea {

/// A strip is some outputs of one row, next to each other, of a vector of channels: what a thread holds at a time. Threads
/// lie side by side along the channels (`lanes`), which are cut into tiles of lanes * vector.
struct DepthwiseStrips {
  static constexpr int threads = 256;
  static constexpr int most_lanes = 8;
  int lanes = 1;  // a power of two
  int tiles = 1;
  int per_row = 1;
  std::int64_t count = 1;  // of all rows of all images

  int strip_lanes() const { return threads / lanes; }
};
/// Outputs of a strip, where a thread takes `vector` channels: registers decide.
constexpr int depthwise_outputs(int vector) { return vector == 1 || vector == 4 ? 8 : 4; }
DepthwiseStrips depthwise_strips(std::int64_t rows, std::int64_t columns, std::int64_t channels, int vector);

/// Blocks for the strips of one tile of channels, which go round: about eight for each multiprocessor in all.
std::int64_t depthwise_blocks(const DepthwiseStrips& strips, const simt::Limits& limits);

/// The weight gradient: a warp for each unit (a row of the filter, or a tap), which takes the strips of a part.
struct DepthwiseParts {
  int warps = 1;   // of a block
  int groups = 1;  // of units
  int parts = 1;
  std::int64_t strips_per_part = 1;  // the last part may have fewer, but none is empty
};
/// About two blocks for each multiprocessor, and at most 256 outputs to a sum of a thread, so that sums of floats stay
/// short.
DepthwiseParts depthwise_parts(const DepthwiseStrips& strips, int units, int outputs,
                               const simt::Limits& limits);

}  // namespace fovea
