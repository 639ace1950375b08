// What layer_norm's kernels share: a warp's row of one or two tensors. Included by kernel files only.
#pragma once

#include <type_traits>

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/values.hpp"

namespace fovea::SIMT_WORLD {

constexpr int row_threads = 256, rows_of_block = row_threads / 32;
/// Blocks that share a multiprocessor: 128 registers for a thread.
constexpr int row_blocks_at_once = 2;

/// A row of N tensors as a warp sees it: lane l has channels (32 i + l) V and the V - 1 after them. `held` of these
/// vectors lie in registers, for rows of at most 32 held V channels; with 0 every walk reads memory again.
template <class T, int V, int N, int held>
class WarpRow {
 public:
  using A = Accumulator<T>;
  /// What sums of a row are made in: in a held row no sum of a lane is longer than 64.
  using Sum = std::conditional_t<held == 0, double, A>;

  __device__ __forceinline__ WarpRow(const T* const (&from)[N], std::int64_t offset, int channels)
      : channels_(channels) {
#pragma unroll
    for (int k = 0; k < N; ++k) from_[k] = from[k] + offset;
#pragma unroll
    for (int i = 0; i < held; ++i) {
      const int c = (32 * i + simt::lane()) * V;
      if (c < channels_) load(values_[i], c);
    }
  }

  /// f(channel, values of the N tensors) for this lane's vectors.
  template <class F>
  __device__ __forceinline__ void each(F&& f) {
    if constexpr (held > 0) {
#pragma unroll
      for (int i = 0; i < held; ++i) {
        const int c = (32 * i + simt::lane()) * V;
        if (c < channels_) f(c, values_[i]);
      }
    } else {
      for (int c = simt::lane() * V; c < channels_; c += 32 * V) {
        A values[N][V];
        load(values, c);
        f(c, values);
      }
    }
  }

 private:
  __device__ __forceinline__ void load(A (&values)[N][V], int c) const {
#pragma unroll
    for (int k = 0; k < N; ++k) load_as<V>(values[k], from_[k] + c);
  }

  const T* from_[N];
  int channels_;
  A values_[held > 0 ? held : 1][N][V];
};

/// The sum of V values, in a chain: they are few.
template <int V, class A>
__device__ __forceinline__ A sum_of(const A (&values)[V]) {
  A sum = values[0];
#pragma unroll
  for (int v = 1; v < V; ++v) sum += values[v];
  return sum;
}

/// f(row) for the rows of this warp: every lane gets the same ones.
template <class F>
__device__ __forceinline__ void for_each_row(std::int64_t rows, F&& f) {
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * rows_of_block + simt::warp(); row < rows;
       row += static_cast<std::int64_t>(gridDim.x) * rows_of_block)
    f(row);
}

/// A warp for each row, but no more blocks than keep the machine busy: they go round.
inline simt::Launch rows_launch(std::int64_t rows, Stream stream) {
  const std::int64_t most = std::int64_t{16} * simt::limits().multiprocessors;
  const std::int64_t blocks = (rows + rows_of_block - 1) / rows_of_block;
  return {.grid = static_cast<unsigned>(blocks < most ? blocks : most),
          .block = row_threads,
          .stream = stream_of(stream)};
}

/// Calls f with the vectors that a lane holds of a row: the fewest that are enough of 2 and `most`, else 0.
template <int V, int most, class F>
void visit_held(std::int64_t channels, F&& f) {
  if (channels <= 32 * 2 * V) {
    f(std::integral_constant<int, 2>{});
  } else if (channels <= std::int64_t{32} * most * V) {
    f(std::integral_constant<int, most>{});
  } else {
    f(std::integral_constant<int, 0>{});
  }
}

}  // namespace fovea::SIMT_WORLD
