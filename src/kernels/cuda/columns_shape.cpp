// See columns_shape.hpp.
#include "kernels/cuda/columns_shape.hpp"

#include <algorithm>

namespace fovea {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr std::int64_t least_rows = 4, most_rows = 256;  // of a thread

}  // namespace

ColumnShape column_shape(std::int64_t matrices, std::int64_t rows, std::int64_t channels, int vector,
                         const simt::Limits& limits) {
  ColumnShape shape{.matrices = matrices, .rows = rows, .channels = channels};
  const std::int64_t vectors = divide_up(channels, vector);
  // Up to a warp along the channels, more where there are too few rows for the rest of the block.
  while (shape.lanes < vectors && (shape.lanes < 32 || (shape.row_lanes() > rows && shape.row_lanes() > 1)))
    shape.lanes *= 2;
  shape.tiles = static_cast<int>(std::max<std::int64_t>(1, divide_up(vectors, shape.lanes)));
  const std::int64_t wanted =
      divide_up(4 * std::int64_t{limits.multiprocessors}, std::max<std::int64_t>(1, matrices * shape.tiles));
  const std::int64_t fewest = divide_up(rows, shape.row_lanes() * most_rows);
  const std::int64_t most = divide_up(rows, shape.row_lanes() * least_rows);
  const std::int64_t parts = std::max<std::int64_t>(1, std::clamp(wanted, fewest, std::max(fewest, most)));
  shape.rows_per_part = std::max<std::int64_t>(1, divide_up(rows, parts));
  shape.parts = static_cast<int>(std::max<std::int64_t>(1, divide_up(rows, shape.rows_per_part)));
  return shape;
}

bool fits_launch(const ColumnShape& shape) { return shape.blocks() <= 0x7fffffff; }

}  // namespace fovea
