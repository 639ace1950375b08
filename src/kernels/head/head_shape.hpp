// The launch shape of head's passes over images: a pure function of the sizes and of what the machine allows, so that it
// is tested without one.
#pragma once

#include <cstdint>

#include "simt/error.hpp"

namespace fovea {

/// The pixels of an image in parts, a block for each (and for each tile of channels).
struct HeadParts {
  static constexpr int threads = 256;
  std::int64_t parts = 1;
  std::int64_t pixels_per_part = 1;  // the last part may have fewer, but none is empty
};

/// Four blocks for each multiprocessor, where each of a block's 8 warps keeps at least 4 pixels; at most 128 pixels for a
/// warp, so that no sum of floats is long. `blocks` are those that there are for one part.
HeadParts head_parts(std::int64_t blocks, std::int64_t pixels, const simt::Limits& limits);

}  // namespace fovea
