// The launch shape of linear's tiled kernels: the parts of a sum cover it, none is empty, and they fill the machine.
#include "kernels/linear/linear_shape.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

constexpr simt::Limits h100{.multiprocessors = 132};

TEST(LinearShape, PartsCoverTheSum) {
  for (const std::int64_t rows : {1, 64, 65, 4096}) {
    for (const std::int64_t depth : {1, 15, 16, 256, 257, 700, 4097, 25088}) {
      const LinearShape shape = linear_shape(rows, 72, depth, h100);
      EXPECT_EQ(shape.depth_per_part % LinearShape::step, 0);
      EXPECT_GE(shape.parts * shape.depth_per_part, depth);
      EXPECT_LT((shape.parts - 1) * shape.depth_per_part, depth);
      EXPECT_GE(shape.row_tiles * LinearShape::tile, rows);
      EXPECT_EQ(shape.column_tiles, 2);
    }
  }
}

TEST(LinearShape, FewTilesAreCutIntoParts) {
  EXPECT_EQ(linear_shape(8, 4096, 25088, h100).parts, 5);  // 64 tiles
  EXPECT_EQ(linear_shape(8, 64, 512, h100).parts, 2);      // 256 terms each
  EXPECT_EQ(linear_shape(4096, 4096, 25088, h100).parts, 1);
  EXPECT_EQ(linear_shape(8, 4096, 25088, {.multiprocessors = 16}).parts, 1);
}

}  // namespace
}  // namespace fovea
