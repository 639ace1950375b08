// What depthwise kernels share: which inputs an output meets, for the CPU's and the CUDA ones; and the launch shapes of the
// CUDA ones, pure functions of the problem and of what the machine allows, so that they are tested without one.
#pragma once

#include <cstdint>

#include "kernels/conv2d/conv2d.hpp"
#include "simt/error.hpp"
#include "simt/world.hpp"

namespace fovea {

/// One axis from outputs to inputs, counted in I: output o and tap t of the filter meet input
/// (o stride - pad + t dilation) / divide, where that is whole and inside.
template <class I>
struct DepthwiseAxis {
  I in, out, taps, stride, pad, dilation, divide;
  /// Or -1.
  SIMT_BOTH constexpr I input_of(I output, I tap) const {
    const I at = output * stride - pad + tap * dilation;
    if (at < 0) return -1;
    const I input = divide == 1 ? at : at / divide;
    return input < in && input * divide == at ? input : -1;
  }
};

/// From one stack of images to another: the forward's x -> y, or the data gradient's dy -> dx with filters turned by 180
/// degrees.
template <class I>
struct DepthwiseMap {
  DepthwiseAxis<I> rows, columns;
  I channels;
  bool turned;
  /// Whether neighbouring outputs meet neighbouring inputs, for which there are strips.
  bool adjacent() const { return columns.stride == 1 && columns.dilation == 1 && columns.divide == 1; }
};

template <class I>
DepthwiseMap<I> depthwise_forward_map(const Conv2dProblem& p) {
  const auto i = [](std::int64_t v) { return static_cast<I>(v); };
  return {{i(p.h), i(p.out_h()), i(p.r), i(p.stride_h), i(p.pad_h), i(p.dilation_h), 1},
          {i(p.w), i(p.out_w()), i(p.s), i(p.stride_w), i(p.pad_w), i(p.dilation_w), 1},
          i(p.c),
          false};
}
template <class I>
DepthwiseMap<I> depthwise_backward_map(const Conv2dProblem& p) {
  const auto i = [](std::int64_t v) { return static_cast<I>(v); };
  return {{i(p.out_h()), i(p.h), i(p.r), 1, i(p.dilation_h * (p.r - 1) - p.pad_h), i(p.dilation_h),
           i(p.stride_h)},
          {i(p.out_w()), i(p.w), i(p.s), 1, i(p.dilation_w * (p.s - 1) - p.pad_w), i(p.dilation_w),
           i(p.stride_w)},
          i(p.c),
          true};
}

/// A strip is some outputs of one row, next to each other, of a vector of channels: what a thread holds at a time. Threads
/// lie side by side along the channels (`lanes`), which are cut into tiles of lanes * vector.
struct DepthwiseStrips {
  static constexpr int threads = 256;
  static constexpr int most_lanes = 8;
  int lanes = 1;  // a power of two
  int tiles = 1;
  int per_row = 1;
  std::int64_t count = 1;  // of all rows of all images

  int strip_lanes() const { return threads / lanes; }
};
/// Outputs of a strip, where a thread takes `vector` channels: registers decide.
constexpr int depthwise_outputs(int vector) { return vector == 1 || vector == 4 ? 8 : 4; }
DepthwiseStrips depthwise_strips(std::int64_t rows, std::int64_t columns, std::int64_t channels, int vector);

/// Blocks for the strips of one tile of channels, which go round: about eight for each multiprocessor in all.
std::int64_t depthwise_blocks(const DepthwiseStrips& strips, const simt::Limits& limits);

/// The weight gradient: a warp for each unit (a row of the filter, or a tap), which takes the strips of a part.
struct DepthwiseParts {
  int warps = 1;   // of a block
  int groups = 1;  // of units
  int parts = 1;
  std::int64_t strips_per_part = 1;  // the last part may have fewer, but none is empty
};
/// About two blocks for each multiprocessor, and at most 256 outputs to a sum of a thread, so that sums of floats stay
/// short.
DepthwiseParts depthwise_parts(const DepthwiseStrips& strips, int units, int outputs,
                               const simt::Limits& limits);

}  // namespace fovea
