// See head_shape.hpp.
#include "kernels/head/head_shape.hpp"

#include <algorithm>

namespace fovea {
namespace {

constexpr std::int64_t warps = HeadParts::threads / 32;
constexpr std::int64_t least_pixels = 4 * warps, most_pixels = 128 * warps;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

HeadParts head_parts(std::int64_t blocks, std::int64_t pixels, const simt::Limits& limits) {
  const std::int64_t wanted = divide_up(4 * std::int64_t{limits.multiprocessors}, blocks);
  const std::int64_t fewest = divide_up(pixels, most_pixels), most = divide_up(pixels, least_pixels);
  HeadParts shape;
  shape.pixels_per_part = divide_up(pixels, std::clamp(wanted, fewest, most));
  shape.parts = divide_up(pixels, shape.pixels_per_part);
  return shape;
}

}  // namespace fovea
