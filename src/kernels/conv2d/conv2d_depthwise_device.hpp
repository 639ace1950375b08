// What the depthwise CUDA kernels share. Included by kernel files only.
#pragma once

#include "kernels/conv2d/conv2d_depthwise_shape.hpp"
#include "kernels/conv2d/kernels.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/values.hpp"

namespace fovea::SIMT_WORLD {

template <int V>
constexpr int strip_outputs = depthwise_outputs(V);

/// One axis from outputs to inputs: output o and tap t of the filter meet input (o stride - pad + t dilation) / divide,
/// where that is whole and inside.
struct DepthwiseAxis {
  int in, out, taps, stride, pad, dilation, divide;
  /// Or -1.
  __device__ __forceinline__ int input_of(int output, int tap) const {
    const int at = output * stride - pad + tap * dilation;
    if (at < 0) return -1;
    const int input = divide == 1 ? at : at / divide;
    return input < in && input * divide == at ? input : -1;
  }
};

/// From one stack of images to another: the forward's x -> y, or the data gradient's dy -> dx with turned filters.
struct DepthwiseMap {
  DepthwiseAxis rows, columns;
  int channels;
  bool turned;
  /// Whether neighbouring outputs meet neighbouring inputs.
  bool adjacent() const { return columns.stride == 1 && columns.dilation == 1 && columns.divide == 1; }
};

inline DepthwiseMap depthwise_forward_map(const Conv2dProblem& p) {
  const auto i = [](std::int64_t v) { return static_cast<int>(v); };
  return {{i(p.h), i(p.out_h()), i(p.r), i(p.stride_h), i(p.pad_h), i(p.dilation_h), 1},
          {i(p.w), i(p.out_w()), i(p.s), i(p.stride_w), i(p.pad_w), i(p.dilation_w), 1},
          i(p.c),
          false};
}

/// Where a strip lies.
struct DepthwisePlace {
  std::int64_t row;  // of outputs, over all images
  int image, output_row, output;
  __device__ __forceinline__ DepthwisePlace(std::int64_t strip, const DepthwiseStrips& s, int rows,
                                            int outputs)
      : row(strip / s.per_row),
        image(static_cast<int>(row / rows)),
        output_row(static_cast<int>(row % rows)),
        output(static_cast<int>(strip % s.per_row) * outputs) {}
};

/// Calls f with the columns of the filter where there is a kernel that has a row of it in registers, else with 0.
template <class F>
void visit_columns(const DepthwiseMap& map, F&& f) {
  if (map.adjacent() && map.columns.taps == 7) {
    f(std::integral_constant<int, 7>{});
  } else if (map.adjacent() && map.columns.taps == 3) {
    f(std::integral_constant<int, 3>{});
  } else {
    f(std::integral_constant<int, 0>{});
  }
}

}  // namespace fovea::SIMT_WORLD
