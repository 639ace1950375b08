// The launch shapes of ham's CUDA kernels: pure functions of the problem and of what the machine allows, so
// that they are tested without one.
#pragma once

#include <cstddef>
#include <optional>

#include "kernels/ham/ham.hpp"
#include "simt/error.hpp"

namespace fovea {

enum class HamDirection : std::uint8_t { forward, backward };

/// `cluster`: one cluster of blocks per image, which holds the image in shared memory.
struct HamClusterShape {
  int cluster = 1;           // blocks per image
  int threads = 128;         // per block, a power of two
  int pixels_per_block = 1;  // the last blocks of a cluster may have fewer, or none
  std::size_t shared_bytes = 0;
};

/// The smallest power of two of blocks that hold the image, doubled while all clusters together fill no more
/// than the multiprocessors and each block keeps at least 16 pixels. None where 16 blocks do not hold it, and
/// backward where a warp cannot keep a pixel in registers (more than 512 channels).
std::optional<HamClusterShape> ham_cluster_shape(const HamProblem& problem, const simt::Limits& limits,
                                                 HamDirection direction);

/// `two_pass`: images in groups whose tensors stay in the second-level cache between the passes.
struct HamTwoPassShape {
  static constexpr int threads = 256;
  int images = 1;           // of a group
  int parts = 1;            // blocks per image
  int pixels_per_part = 1;  // the last parts may have fewer, or none
};

HamTwoPassShape ham_two_pass_shape(const HamProblem& problem, const simt::Limits& limits,
                                   HamDirection direction);

}  // namespace fovea
