// What the depthwise CUDA kernels share. Included by kernel files only.
#pragma once

#include "kernels/conv2d/conv2d_depthwise_shape.hpp"
#include "kernels/conv2d/kernels.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/values.hpp"

namespace fovea::SIMT_WORLD {

template <int V>
constexpr int strip_outputs = depthwise_outputs(V);

using DeviceMap = DepthwiseMap<int>;

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
void visit_columns(const DeviceMap& map, F&& f) {
  if (map.adjacent() && map.columns.taps == 7) {
    f(std::integral_constant<int, 7>{});
  } else if (map.adjacent() && map.columns.taps == 3) {
    f(std::integral_constant<int, 3>{});
  } else {
    f(std::integral_constant<int, 0>{});
  }
}

/// f(V values of x, output of the strip, tap of the row) for each meeting of the strip's outputs with a row of the filter,
/// of S columns; with S = 0 with its column `tap` alone. `x` is the row of inputs; a value is loaded once for all taps.
template <int S, int V, int outputs, class T, class F>
__device__ __forceinline__ void for_each_meeting(const T* x, const DeviceMap& m, int output, int tap, F&& f) {
  if constexpr (S > 0) {
#pragma unroll
    for (int j = 0; j < outputs + S - 1; ++j) {
      const int column = output + j - m.columns.pad;
      if (column < 0 || column >= m.columns.in) continue;
      Accumulator<T> value[V];
      load_as<V>(value, x + column * m.channels);
#pragma unroll
      for (int s = 0; s < S; ++s) {
        if (j >= s && j - s < outputs) f(value, j - s, s);
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < outputs; ++i) {
      const int column = m.columns.input_of(output + i, tap);
      if (column < 0) continue;
      Accumulator<T> value[V];
      load_as<V>(value, x + column * m.channels);
      f(value, i, 0);
    }
  }
}

}  // namespace fovea::SIMT_WORLD
