// The launch shape of column reductions: parts and tiles cover each element once, and sums stay short.
#include "kernels/cuda/columns_shape.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

const simt::Limits h100{
    .shared_per_block = 227 * 1024, .max_cluster = 16, .architecture = 90, .multiprocessors = 132};

TEST(ColumnShape, CoversTheMatrix) {
  for (const std::int64_t matrices : {1, 3, 1000}) {
    for (const std::int64_t rows : {0, 1, 2, 7, 196, 4099, 401408, 100000000}) {
      for (const std::int64_t channels : {1, 3, 4, 20, 64, 512, 9001}) {
        for (const int vector : {1, 2, 4, 8}) {
          if (channels % vector != 0) continue;
          const ColumnShape s = column_shape(matrices, rows, channels, vector, h100);
          EXPECT_EQ(s.lanes & (s.lanes - 1), 0);
          EXPECT_EQ(ColumnShape::threads % s.lanes, 0);
          EXPECT_GE(std::int64_t{s.tiles} * s.lanes * vector, channels);
          EXPECT_LT(std::int64_t{s.tiles - 1} * s.lanes * vector, channels);
          EXPECT_GE(s.parts * s.rows_per_part, rows);
          EXPECT_LT((s.parts - 1) * s.rows_per_part, std::max<std::int64_t>(rows, 1));  // none is empty
          EXPECT_LE(s.rows_per_part, std::int64_t{256} * s.row_lanes());
        }
      }
    }
  }
}

TEST(ColumnShape, FillsTheMachine) {
  const ColumnShape large = column_shape(1, 401408, 64, 8, h100);
  EXPECT_EQ(large.lanes, 8);
  EXPECT_EQ(large.blocks(), 4 * 132);
  EXPECT_EQ(column_shape(1, 1568, 512, 8, h100).tiles, 2);
  EXPECT_EQ(column_shape(1, 3, 9001, 1, h100).lanes, 128);  // few rows: the block lies along the channels
}

TEST(ColumnShape, KnowsWhatNoGridHolds) {
  EXPECT_TRUE(fits_launch(column_shape(1, 1 << 20, 512, 1, h100)));
  EXPECT_FALSE(fits_launch(column_shape(std::int64_t{1} << 32, 1, 64, 1, h100)));
}

}  // namespace
}  // namespace fovea
