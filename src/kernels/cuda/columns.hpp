// Reductions of each column of a matrix of rows x channels (all but the last dimension of a tensor are rows): sums,
// and mean and variance. Included by kernel files only.
//
//   partial kernel   a block takes a tile of channels and a part of the rows (column_shape(), ColumnShare); its
//                    threads gather in registers, the block merges them (merge_row_lanes()), and one row of values
//                    for each part is written (store_partial())
//   merge kernel     a thread for each channel, eight ways along the parts (merge_sums(), merge_moments())
//
// Sums are those of at most 256 rows in A, then trees and, over the parts, in double: one fixed order. Moments are
// merged as Chan, Golub and LeVeque have it, so nothing cancels however far the mean is from zero.
//
// Partials are [matrix][part][fields][channels]: N sums, or the mean and M2 (the sum of squared deviations from it).
// Whoever makes partials of that form in some other kernel (a convolution's end) can merge them here.
#pragma once

#include <type_traits>

#include "kernels/cuda/columns_shape.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/scratch.hpp"
#include "kernels/cuda/values.hpp"

namespace fovea::SIMT_WORLD {

// ---- the walk over a matrix

constexpr int column_threads = ColumnShape::threads;
/// Blocks that share a multiprocessor: 128 registers for a thread.
constexpr int column_blocks_at_once = 2;

/// What this thread takes: V channels from `channel` on, and rows `begin`, `begin + step`, ... below `end`, counted
/// over all matrices. Threads beyond the channels have no rows.
template <int V>
struct ColumnShare {
  std::int64_t begin, end;
  std::int64_t matrix;
  int part, step, lanes;
  int channel;
  bool active;  // it has channels
  __device__ __forceinline__ explicit ColumnShare(const ColumnShape& s) {
    const auto thread = static_cast<int>(threadIdx.x);
    const unsigned tile = blockIdx.x % static_cast<unsigned>(s.tiles);
    const unsigned block = blockIdx.x / static_cast<unsigned>(s.tiles);
    matrix = block / static_cast<unsigned>(s.parts);
    part = static_cast<int>(block % static_cast<unsigned>(s.parts));
    step = column_threads / s.lanes;
    lanes = s.lanes;
    channel = (static_cast<int>(tile) * s.lanes + thread % s.lanes) * V;
    const std::int64_t first = part * s.rows_per_part, last = min(s.rows, first + s.rows_per_part);
    active = channel < s.channels;
    begin = matrix * s.rows + first + thread / s.lanes;
    end = active ? matrix * s.rows + last : 0;
  }
};

/// f(row, std::integral_constant<int, B>) for rows row, row + step, ..., B of them: `batch` (1, 2 or 4) at a time, so
/// that their loads are in flight together, then single ones.
template <int batch = 4, int V, class F>
__device__ __forceinline__ void for_each_rows(const ColumnShare<V>& s, F&& f) {
  std::int64_t row = s.begin;
  for (; row + (batch - 1) * s.step < s.end; row += batch * s.step)
    f(row, std::integral_constant<int, batch>{});
  for (; row < s.end; row += s.step) f(row, std::integral_constant<int, 1>{});
}

/// The sum over B rows of one channel, in pairs.
template <int V, int B, class A>
__device__ __forceinline__ A pair_sum(const A (&x)[B][V], int v) {
  if constexpr (B == 4) {
    return (x[0][v] + x[1][v]) + (x[2][v] + x[3][v]);
  } else if constexpr (B == 2) {
    return x[0][v] + x[1][v];
  } else {
    return x[0][v];
  }
}

inline simt::Launch columns_launch(const ColumnShape& s, Stream stream) {
  return {.grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)};
}

// ---- what a thread gathers

/// N sums of V channels.
template <int N, int V, class A>
struct ColumnSums {
  static constexpr int fields = N;
  A at[N * V];
  __device__ __forceinline__ ColumnSums() {
#pragma unroll
    for (A& value : at) value = A(0);
  }
  __device__ __forceinline__ void merge(const ColumnSums& other) {
#pragma unroll
    for (int i = 0; i < N * V; ++i) at[i] += other.at[i];
  }
  /// Adds B rows to the k-th sum.
  template <int B>
  __device__ __forceinline__ void add(int k, const A (&x)[B][V]) {
#pragma unroll
    for (int v = 0; v < V; ++v) at[k * V + v] += pair_sum<V>(x, v);
  }
};

/// Count, mean and M2 of two sets together. Two empty sets are one.
template <class A>
struct MomentShare {
  A of_other, crossed;  // what the second mean moves the first by, and what their distance adds to M2
  __device__ __forceinline__ MomentShare(A count, A other) {
    const A all = count + other;
    of_other = all > A(0) ? other / all : A(0);
    crossed = count * of_other;
  }
  __device__ __forceinline__ void merge(A& mean, A& m2, A other_mean, A other_m2) const {
    const A apart = other_mean - mean;
    mean += apart * of_other;
    m2 += other_m2 + apart * apart * crossed;
  }
};

/// Mean and M2 of V channels over `count` rows.
template <int V, class A>
struct ColumnMoments {
  static constexpr int fields = 2;
  A at[2 * V];  // means, then M2
  A count;
  __device__ __forceinline__ ColumnMoments() : count(A(0)) {
#pragma unroll
    for (A& value : at) value = A(0);
  }
  __device__ __forceinline__ void merge(const ColumnMoments& other) {
    const MomentShare<A> share(count, other.count);
#pragma unroll
    for (int v = 0; v < V; ++v) share.merge(at[v], at[V + v], other.at[v], other.at[V + v]);
    count += other.count;
  }
  /// B rows: their own mean and M2 first.
  template <int B>
  __device__ __forceinline__ void add(const A (&x)[B][V]) {
    const MomentShare<A> share(count, A(B));
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const A mean = pair_sum<V>(x, v) * A(1.0 / B);
      A m2 = A(0);
#pragma unroll
      for (int b = 0; b < B; ++b) m2 += (x[b][v] - mean) * (x[b][v] - mean);
      share.merge(at[v], at[V + v], mean, m2);
    }
    count += A(B);
  }
};

/// Merges what the threads of a block hold of the same channels, in a tree: afterwards those of row lane 0 hold all.
/// Every thread calls it, once in a kernel.
template <class Gathered>
__device__ __forceinline__ void merge_row_lanes(Gathered& mine, int lanes) {
  using A = std::remove_reference_t<decltype(mine.at[0])>;
  constexpr int values = sizeof(Gathered) / sizeof(A);
  static_assert(sizeof(Gathered) == values * sizeof(A), "a struct of As alone");
  SIMT_SHARED(A, held, [values][column_threads]);
  const auto thread = static_cast<int>(threadIdx.x);
  for (int half = column_threads / 2; half >= lanes; half /= 2) {  // each turn has slots of its own
    A* own = reinterpret_cast<A*>(&mine);
    if (thread >= half && thread < 2 * half) {
#pragma unroll
      for (int i = 0; i < values; ++i) held[i][thread] = own[i];
    }
    __syncthreads();
    if (thread < half) {
      Gathered other;
      A* others = reinterpret_cast<A*>(&other);
#pragma unroll
      for (int i = 0; i < values; ++i) others[i] = held[i][thread + half];
      mine.merge(other);
    }
  }
}

/// Writes what row lane 0 holds to the partials.
template <int V, class Gathered, class A>
__device__ __forceinline__ void store_partial(const Gathered& mine, const ColumnShare<V>& share,
                                              const ColumnShape& s, A* partials) {
  if (static_cast<int>(threadIdx.x) >= share.lanes || !share.active) return;
  const std::int64_t row = (share.matrix * s.parts + share.part) * Gathered::fields;
#pragma unroll
  for (int k = 0; k < Gathered::fields; ++k)
    store_values<V>(partials + (row + k) * s.channels + share.channel, mine.at + k * V);
}

/// Values in the partials of a shape.
inline std::int64_t partial_count(const ColumnShape& s, int fields) {
  return s.matrices * s.parts * fields * s.channels;
}

// ---- merging partials

constexpr int merge_threads = 256, merge_channels = 32, merge_ways = merge_threads / merge_channels;

inline simt::Launch merge_launch(const ColumnShape& s, Stream stream) {
  return {.grid = static_cast<unsigned>(s.matrices) * blocks_for(s.channels, merge_channels),
          .block = merge_threads,
          .stream = stream_of(stream)};
}

/// This thread of a merge kernel (launched by merge_launch()).
struct MergeShare {
  std::int64_t matrix, channel;
  int way, slot;
  bool active;
  __device__ __forceinline__ explicit MergeShare(const ColumnShape& s) {
    const auto tiles = static_cast<unsigned>((s.channels + merge_channels - 1) / merge_channels);
    slot = static_cast<int>(threadIdx.x) % merge_channels;
    way = static_cast<int>(threadIdx.x) / merge_channels;
    matrix = blockIdx.x / tiles;
    channel = static_cast<std::int64_t>(blockIdx.x % tiles) * merge_channels + slot;
    active = channel < s.channels;
  }
};

/// out(matrix, channel, const double (&sums)[N]) by one thread for each channel; all threads of the block call it.
template <int N, class A, class Out>
__device__ __forceinline__ void merge_sums(const A* partials, const ColumnShape& s, Out&& out) {
  SIMT_SHARED(double, held, [N][merge_ways][merge_channels]);
  const MergeShare share(s);
  double sums[N] = {};
  if (share.active) {
    for (int part = share.way; part < s.parts; part += merge_ways) {
#pragma unroll
      for (int k = 0; k < N; ++k)
        sums[k] += double(partials[((share.matrix * s.parts + part) * N + k) * s.channels + share.channel]);
    }
  }
#pragma unroll
  for (int k = 0; k < N; ++k) held[k][share.way][share.slot] = sums[k];
  __syncthreads();
  if (share.way != 0 || !share.active) return;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    for (int way = 1; way < merge_ways; ++way) sums[k] += held[k][way][share.slot];
  }
  out(share.matrix, share.channel, sums);
}

/// out(matrix, channel, mean, M2), in double, likewise.
template <class A, class Out>
__device__ __forceinline__ void merge_moments(const A* partials, const ColumnShape& s, Out&& out) {
  using Moments = ColumnMoments<1, double>;
  SIMT_SHARED(double, held, [3][merge_ways][merge_channels]);
  const MergeShare share(s);
  Moments all;
  if (share.active) {
    for (int part = share.way; part < s.parts; part += merge_ways) {
      const A* mean = partials + (share.matrix * s.parts + part) * 2 * s.channels + share.channel;
      Moments one;
      one.at[0] = double(mean[0]);
      one.at[1] = double(mean[s.channels]);
      one.count = double(min(s.rows_per_part, s.rows - part * s.rows_per_part));
      all.merge(one);
    }
  }
  held[0][share.way][share.slot] = all.at[0];
  held[1][share.way][share.slot] = all.at[1];
  held[2][share.way][share.slot] = all.count;
  __syncthreads();
  if (share.way != 0 || !share.active) return;
  for (int way = 1; way < merge_ways; ++way) {
    Moments one;
    one.at[0] = held[0][way][share.slot];
    one.at[1] = held[1][way][share.slot];
    one.count = held[2][way][share.slot];
    all.merge(one);
  }
  out(share.matrix, share.channel, all.at[0], all.at[1]);
}

// ---- the column sums of a tensor, whole: two launches

template <int V, class T, class A>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    column_sums_partial(const T* x, ColumnShape s, A* partials) {
  const ColumnShare<V> share(s);
  ColumnSums<1, V, A> sums;
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A values[B][V];
#pragma unroll
    for (int b = 0; b < B; ++b)
      load_as<V>(values[b], x + (row + b * share.step) * s.channels + share.channel);
    sums.template add<B>(0, values);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

template <class Out, class A>
__global__ void __launch_bounds__(merge_threads, column_blocks_at_once)
    column_sums_merge(const A* partials, ColumnShape s, double scale, Out* out) {
  merge_sums<1>(partials, s, [&](std::int64_t matrix, std::int64_t channel, const double(&sums)[1]) {
    out[matrix * s.channels + channel] = Out(A(sums[0] * scale));
  });
}

/// out[m, c] = scale * the sum of x[m, r, c] over r, for `matrices` matrices of rows x channels. `name` is the
/// kernel's, for reports.
template <class T, class Out>
void column_sums(const simt::LaunchName& name, const T* x, std::int64_t matrices, std::int64_t rows,
                 std::int64_t channels, double scale, Out* out, Stream stream) {
  using A = Accumulator<T>;
  constexpr int vector = vector_of<T>;
  const bool whole = channels % vector == 0 && aligned_16({x});
  const ColumnShape s = column_shape(matrices, rows, channels, whole ? vector : 1, simt::limits());
  const Scratch<A> partials(partial_count(s, 1), stream, "column sums of the parts");
  simt::launch(name, whole ? &column_sums_partial<vector, T, A> : &column_sums_partial<1, T, A>,
               columns_launch(s, stream), x, s, partials.data());
  simt::launch(name, &column_sums_merge<Out, A>, merge_launch(s, stream), partials.data(), s, scale, out);
}

}  // namespace fovea::SIMT_WORLD
