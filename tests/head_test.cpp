// The launch shape of head's passes over images: the parts cover the pixels, none is empty, and no warp's sum is long.
#include "kernels/head/head_shape.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

constexpr simt::Limits h100{.multiprocessors = 132};

TEST(HeadShape, PartsCoverTheImage) {
  for (const std::int64_t blocks : {1, 7, 64, 5000}) {
    for (const std::int64_t pixels : {1, 31, 32, 33, 196, 3136, 50176}) {
      const HeadParts shape = head_parts(blocks, pixels, h100);
      EXPECT_GE(shape.parts * shape.pixels_per_part, pixels);
      EXPECT_LT((shape.parts - 1) * shape.pixels_per_part, pixels);
      EXPECT_LE(shape.pixels_per_part, 128 * HeadParts::threads / 32);
    }
  }
}

TEST(HeadShape, FillsTheMachine) {
  EXPECT_EQ(head_parts(64, 196, h100).parts,
            7);  // of 28 pixels: 32 would leave a block less than 4 for each warp
  EXPECT_EQ(head_parts(1056, 196, h100).parts, 1);
  EXPECT_EQ(head_parts(1, 12544, h100).parts, 392);
}

}  // namespace
}  // namespace fovea
