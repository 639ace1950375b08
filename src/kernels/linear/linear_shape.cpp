// See linear_shape.hpp.
#include "kernels/linear/linear_shape.hpp"

#include <algorithm>

namespace fovea {
namespace {

constexpr std::int64_t least_depth = 256;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

LinearShape linear_shape(std::int64_t rows, std::int64_t columns, std::int64_t depth,
                         const simt::Limits& limits) {
  LinearShape shape;
  shape.row_tiles = divide_up(rows, LinearShape::tile);
  shape.column_tiles = divide_up(columns, LinearShape::tile);
  const std::int64_t wanted =
      divide_up(2 * std::int64_t{limits.multiprocessors}, shape.row_tiles * shape.column_tiles);
  const std::int64_t parts = std::clamp<std::int64_t>(wanted, 1, divide_up(depth, least_depth));
  shape.depth_per_part = divide_up(divide_up(depth, parts), LinearShape::step) * LinearShape::step;
  shape.parts = divide_up(depth, shape.depth_per_part);
  return shape;
}

}  // namespace fovea
