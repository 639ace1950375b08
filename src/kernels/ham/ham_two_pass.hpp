// What the two_pass kernels of both directions share: how images are cut into parts, and their launches.
// Included by kernel files only.
#pragma once

#include <optional>

#include "kernels/ham/ham_device.hpp"
#include "kernels/ham/ham_shape.hpp"

namespace fovea::SIMT_WORLD {

constexpr int two_pass_threads = HamTwoPassShape::threads;
constexpr int gate_threads = 512;
/// Blocks of reduce and apply that share a multiprocessor: 128 registers for a thread, 255 in double.
template <class T>
constexpr int blocks_at_once = sizeof(T) == 8 ? 1 : 2;

/// A group of images, each cut into parts of `pixels_per_part` pixels.
struct PartDims {
  std::size_t first_image;
  int pixels, channels, hidden;
  int parts, pixels_per_part;
};

/// The part of this block.
struct PartShare {
  std::size_t image, row;  // row: of the part among all parts of all images
  int begin, size;
  __device__ __forceinline__ explicit PartShare(const PartDims& d)
      : image(d.first_image + blockIdx.x / static_cast<unsigned>(d.parts)),
        row(d.first_image * d.parts + blockIdx.x),
        begin(static_cast<int>(blockIdx.x % static_cast<unsigned>(d.parts)) * d.pixels_per_part),
        size(min(d.pixels_per_part, d.pixels - begin)) {}
};

/// The channel sums of a block's warps over one panel.
template <class A>
struct WarpSums {
  A part[two_pass_threads / 32][panel_channels];
};

/// The sum over rows that lie `stride` values apart, in order.
template <class A>
__device__ __forceinline__ A sum_rows(const A* rows, int count, int stride) {
  A sum = rows[0];
#pragma unroll 4
  for (int i = 1; i < count; ++i) sum += rows[static_cast<std::size_t>(i) * stride];
  return sum;
}

inline simt::Launch pass_launch(const HamTwoPassShape& shape, unsigned images, std::size_t shared_bytes,
                                Stream stream) {
  return {.grid = images * static_cast<unsigned>(shape.parts),
          .block = two_pass_threads,
          .shared_bytes = shared_bytes,
          .stream = stream_of(stream)};
}

inline simt::Launch gate_launch(unsigned images, std::size_t shared_bytes, Stream stream) {
  return {.grid = images, .block = gate_threads, .shared_bytes = shared_bytes, .stream = stream_of(stream)};
}

/// f(dims, images) for each group of images, in order.
template <class F>
void for_each_group(const HamProblem& p, const HamTwoPassShape& shape, F&& f) {
  for (std::int64_t first = 0; first < p.n; first += shape.images) {
    const PartDims dims{static_cast<std::size_t>(first),
                        static_cast<int>(p.pixels()),
                        static_cast<int>(p.c),
                        static_cast<int>(p.hidden),
                        shape.parts,
                        shape.pixels_per_part};
    f(dims, static_cast<unsigned>(std::min<std::int64_t>(shape.images, p.n - first)));
  }
}

}  // namespace fovea::SIMT_WORLD
