// See conv2d_depthwise_shape.hpp.
#include "kernels/conv2d/conv2d_depthwise_shape.hpp"

#include <algorithm>

namespace fovea {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr std::int64_t most_warps = 8, most_outputs = 256;

}  // namespace

DepthwiseStrips depthwise_strips(std::int64_t rows, std::int64_t columns, std::int64_t channels, int vector) {
  DepthwiseStrips strips;
  const std::int64_t vectors = divide_up(channels, vector);
  // As many lanes as divide the vectors; where those are few, lanes that are idle in the last tile.
  while (strips.lanes < DepthwiseStrips::most_lanes && vectors % (2 * strips.lanes) == 0) strips.lanes *= 2;
  if (strips.lanes < 4)
    while (strips.lanes < DepthwiseStrips::most_lanes && strips.lanes < vectors) strips.lanes *= 2;
  strips.tiles = static_cast<int>(divide_up(vectors, strips.lanes));
  strips.per_row = static_cast<int>(divide_up(columns, depthwise_outputs(vector)));
  strips.count = rows * strips.per_row;
  return strips;
}

std::int64_t depthwise_blocks(const DepthwiseStrips& strips, const simt::Limits& limits) {
  const std::int64_t most = divide_up(8 * std::int64_t{limits.multiprocessors}, strips.tiles);
  return std::min(divide_up(strips.count, strips.strip_lanes()), most);
}

DepthwiseParts depthwise_parts(const DepthwiseStrips& strips, int units, int outputs,
                               const simt::Limits& limits) {
  DepthwiseParts p;
  p.warps = static_cast<int>(std::min<std::int64_t>(units, most_warps));
  p.groups = static_cast<int>(divide_up(units, p.warps));
  const std::int64_t at_once = 32 / strips.lanes;  // strips of a warp
  const std::int64_t wanted =
      divide_up(2 * std::int64_t{limits.multiprocessors}, std::int64_t{strips.tiles} * p.groups);
  const std::int64_t fewest =
      divide_up(strips.count, at_once * std::max<std::int64_t>(1, most_outputs / outputs));
  const std::int64_t most = divide_up(strips.count, at_once);
  const std::int64_t parts = std::max(fewest, std::min(wanted, most));
  p.strips_per_part = divide_up(strips.count, parts);
  p.parts = static_cast<int>(divide_up(strips.count, p.strips_per_part));
  return p;
}

}  // namespace fovea
