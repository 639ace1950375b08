// A block's share of a matrix product, for every kernel that is one:
//
//   out[m, n] = sum_k A[m, k] B[n, k]        m < Tile::m, n < Tile::n, in steps of Tile::k
//
// Idea: while a step is multiplied, the next ones are on their way to shared memory (cp.async, Tile::stages
// buffers, one barrier a step). Where the operands come from is the caller's: a loader fills a buffer, so the same
// loop serves convolutions forward, by data and by weights. bf16 is multiplied by the tensor cores
// (mma.sync.m16n8k16, fp32 sums); float and double by fused multiply-adds, float in chains of 64 products that are
// then added up, so that the rounding of a long sum stays near that of a short one.
//
// An operand lies in shared memory as its rows are contiguous in global memory, so that it arrives 16 bytes at a
// time: along k ([row][k], `Along::k`) or along the rows ([k][row], `Along::rows`). Rows are padded by 16 bytes,
// which spreads ldmatrix and the 16-byte reads over all banks.
//
// Included by kernel files only.
#pragma once

#include "kernels/cuda/launch.hpp"
#include "simt/async.hpp"
#include "simt/tensor_core.hpp"

namespace fovea::SIMT_WORLD {

/// The extent of a block's tile, and how its warps (tensor cores) or threads (multiply-adds) divide it.
template <class T, int M, int N, int K, int AcrossM, int AcrossN, int Threads, int Stages>
struct Tile {
  using type = T;
  static constexpr int m = M, n = N, k = K, threads = Threads, stages = Stages;
  static constexpr int across_m = AcrossM, across_n = AcrossN;
};
using LargeBf16Tile = Tile<simt::bf16, 128, 128, 32, 2, 4, 256, 4>;
using SmallBf16Tile = Tile<simt::bf16, 64, 64, 32, 2, 2, 128, 4>;
using FloatTile = Tile<float, 128, 64, 16, 16, 16, 256, 3>;
using DoubleTile = Tile<double, 64, 64, 8, 16, 16, 256, 3>;

enum class Along { k, rows };

/// One operand of one step in shared memory.
template <class T, int Rows, int K, Along along>
struct Operand {
  static constexpr int pad = vector_of<T>;
  static constexpr int pitch = (along == Along::k ? K : Rows) + pad;
  alignas(16) T values[(along == Along::k ? Rows : K) * pitch];

  __device__ __forceinline__ T* at(int row, int k) {
    return values + (along == Along::k ? row * pitch + k : k * pitch + row);
  }
  __device__ __forceinline__ const T* at(int row, int k) const {
    return values + (along == Along::k ? row * pitch + k : k * pitch + row);
  }
};

template <class Tile, Along along_a, Along along_b>
struct Stage {
  Operand<typename Tile::type, Tile::m, Tile::k, along_a> a;
  Operand<typename Tile::type, Tile::n, Tile::k, along_b> b;
};

// ---- accumulators: a thread's share of the tile

/// Tensor cores: a warp has m16n8 fragments; lane (g, t) has rows g and g + 8, columns 2t and 2t + 1 of each.
template <class Tile>
struct Fragments {
  static constexpr int rows = Tile::m / Tile::across_m / 16, columns = Tile::n / Tile::across_n / 8;
  float value[rows][columns][4];

  /// f(row, column, value) for each element of this thread.
  template <class F>
  __device__ __forceinline__ void for_each(F&& f) {
    for_each_with(*this, [&](int row, int column, float& mine, const float&) { f(row, column, mine); });
  }
  /// f(row, column, value, the other's value).
  template <class F>
  __device__ __forceinline__ void for_each_with(const Fragments& other, F&& f) {
    const int warp = static_cast<int>(simt::warp()), lane = static_cast<int>(simt::lane());
    const int row = warp / Tile::across_n * rows * 16 + lane / 4;
    const int column = warp % Tile::across_n * columns * 8 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < rows; ++i) {
#pragma unroll
      for (int j = 0; j < columns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          f(row + i * 16 + e / 2 * 8, column + j * 8 + e % 2, value[i][j][e], other.value[i][j][e]);
      }
    }
  }
};

/// Multiply-adds: thread (y, x) has rows y, y + across_m, ... and columns x, x + across_n, ...
template <class Tile>
struct Elements {
  using T = typename Tile::type;
  static constexpr int rows = Tile::m / Tile::across_m, columns = Tile::n / Tile::across_n;
  static constexpr bool chained = sizeof(T) == 4;
  T value[rows][columns];
  T chain[chained ? rows : 1][chained ? columns : 1];  // the products since the last sum

  template <class F>
  __device__ __forceinline__ void for_each(F&& f) {
    for_each_with(*this, [&](int row, int column, T& mine, const T&) { f(row, column, mine); });
  }
  template <class F>
  __device__ __forceinline__ void for_each_with(const Elements& other, F&& f) {
    const int thread = static_cast<int>(threadIdx.x);
    const int row = thread / Tile::across_n, column = thread % Tile::across_n;
#pragma unroll
    for (int i = 0; i < rows; ++i) {
#pragma unroll
      for (int j = 0; j < columns; ++j)
        f(row + i * Tile::across_m, column + j * Tile::across_n, value[i][j], other.value[i][j]);
    }
  }
  __device__ __forceinline__ void end_chain() {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
#pragma unroll
      for (int j = 0; j < columns; ++j) {
        value[i][j] += chain[i][j];
        chain[i][j] = T(0);
      }
    }
  }
};

template <class Tile>
using Accumulators = std::conditional_t<sizeof(typename Tile::type) == 2, Fragments<Tile>, Elements<Tile>>;

template <class Tile>
__device__ __forceinline__ void clear(Fragments<Tile>& sums) {
  sums.for_each([](int, int, float& value) { value = 0; });
}
template <class Tile>
__device__ __forceinline__ void clear(Elements<Tile>& sums) {
  using T = typename Tile::type;
  sums.for_each([](int, int, T& value) { value = T(0); });
  if constexpr (Elements<Tile>::chained) {
#pragma unroll
    for (auto& row : sums.chain) {
#pragma unroll
      for (T& value : row) value = T(0);
    }
  }
}

// ---- one step

/// The fragment of 16 rows and 16 k: a[0..3] of mma_bf16_m16n8k16.
template <int Rows, int K>
__device__ __forceinline__ void load_a(std::uint32_t (&a)[4],
                                       const Operand<simt::bf16, Rows, K, Along::k>& from, int row, int k) {
  const int lane = static_cast<int>(simt::lane());
  simt::ldmatrix_x4(a, from.at(row + lane % 16, k + lane / 16 * 8));
}
template <int Rows, int K>
__device__ __forceinline__ void load_a(std::uint32_t (&a)[4],
                                       const Operand<simt::bf16, Rows, K, Along::rows>& from, int row,
                                       int k) {
  const int lane = static_cast<int>(simt::lane());
  simt::ldmatrix_x4_trans(a, from.at(row + lane / 8 % 2 * 8, k + lane / 16 * 8 + lane % 8));
}
/// Two fragments of 8 rows and 16 k: b0 and b1 of the first, then of the second.
template <int Rows, int K>
__device__ __forceinline__ void load_b(std::uint32_t (&b)[4],
                                       const Operand<simt::bf16, Rows, K, Along::k>& from, int row, int k) {
  const int lane = static_cast<int>(simt::lane());
  simt::ldmatrix_x4(b, from.at(row + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8));
}
template <int Rows, int K>
__device__ __forceinline__ void load_b(std::uint32_t (&b)[4],
                                       const Operand<simt::bf16, Rows, K, Along::rows>& from, int row,
                                       int k) {
  const int lane = static_cast<int>(simt::lane());
  simt::ldmatrix_x4_trans(b, from.at(row + lane / 16 * 8, k + lane / 8 % 2 * 8 + lane % 8));
}

template <class Tile, class Stage>
__device__ __forceinline__ void multiply(const Stage& stage, int, Fragments<Tile>& sums) {
  using Sums = Fragments<Tile>;
  static_assert(Sums::columns % 2 == 0, "two fragments of B are loaded at once");
  const int warp = static_cast<int>(simt::warp());
  const int row = warp / Tile::across_n * Sums::rows * 16, column = warp % Tile::across_n * Sums::columns * 8;
#pragma unroll
  for (int k = 0; k < Tile::k; k += 16) {
    std::uint32_t a[Sums::rows][4], b[Sums::columns / 2][4];
#pragma unroll
    for (int i = 0; i < Sums::rows; ++i) load_a(a[i], stage.a, row + i * 16, k);
#pragma unroll
    for (int j = 0; j < Sums::columns / 2; ++j) load_b(b[j], stage.b, column + j * 16, k);
#pragma unroll
    for (int i = 0; i < Sums::rows; ++i) {
#pragma unroll
      for (int j = 0; j < Sums::columns; ++j)
        simt::mma_bf16_m16n8k16(sums.value[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
}

/// `count` values along k of one row.
template <int count, class T, int Rows, int K, Along along>
__device__ __forceinline__ simt::Vec<T, count> load_along_k(const Operand<T, Rows, K, along>& from, int row,
                                                            int k) {
  if constexpr (along == Along::k) {
    return simt::load<count>(from.at(row, k));
  } else {
    simt::Vec<T, count> values;
#pragma unroll
    for (int e = 0; e < count; ++e) values[e] = *from.at(row, k + e);
    return values;
  }
}

template <class Tile, class Stage>
__device__ __forceinline__ void multiply(const Stage& stage, int step, Elements<Tile>& sums) {
  using Sums = Elements<Tile>;
  using T = typename Tile::type;
  constexpr int vector = vector_of<T>, steps_in_chain = 64 / Tile::k;
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / Tile::across_n, column = thread % Tile::across_n;
#pragma unroll 2
  for (int k = 0; k < Tile::k; k += vector) {
    simt::Vec<T, vector> a[Sums::rows], b[Sums::columns];
#pragma unroll
    for (int i = 0; i < Sums::rows; ++i) a[i] = load_along_k<vector>(stage.a, row + i * Tile::across_m, k);
#pragma unroll
    for (int j = 0; j < Sums::columns; ++j)
      b[j] = load_along_k<vector>(stage.b, column + j * Tile::across_n, k);
#pragma unroll
    for (int i = 0; i < Sums::rows; ++i) {
#pragma unroll
      for (int j = 0; j < Sums::columns; ++j) {
        T& sum = Sums::chained ? sums.chain[Sums::chained ? i : 0][Sums::chained ? j : 0] : sums.value[i][j];
#pragma unroll
        for (int e = 0; e < vector; ++e) sum += a[i][e] * b[j][e];
      }
    }
  }
  if constexpr (Sums::chained) {
    if (step % steps_in_chain == steps_in_chain - 1) sums.end_chain();
  }
}

template <class Tile>
__device__ __forceinline__ void finish(Fragments<Tile>&) {}
template <class Tile>
__device__ __forceinline__ void finish(Elements<Tile>& sums) {
  if constexpr (Elements<Tile>::chained) sums.end_chain();
}

// ---- all steps

/// Adds `steps` steps of k. load(stage, step) fills a buffer, by cp.async or by plain stores. All threads call this;
/// afterwards the buffers are free. A barrier must stand between the writes of what load() reads and this call.
template <class Tile, class Stage, class Load>
__device__ __forceinline__ void accumulate(Stage (&stages)[Tile::stages], int steps, Accumulators<Tile>& sums,
                                           Load&& load) {
#pragma unroll
  for (int s = 0; s < Tile::stages - 1; ++s) {
    if (s < steps) load(stages[s], s);
    simt::cp_async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    simt::cp_async_wait<Tile::stages - 2>();
    __syncthreads();  // this step has arrived, and everybody has read the one whose buffer is filled next
    const int next = step + Tile::stages - 1;
    if (next < steps) load(stages[next % Tile::stages], next);
    simt::cp_async_commit();
    multiply<Tile>(stages[step % Tile::stages], step, sums);
  }
  finish(sums);
  simt::cp_async_wait<0>();
  __syncthreads();
}

// ---- out of the registers

/// The tile's sums in shared memory, from where rows are written whole.
template <class Tile>
struct OutTile {
  using A = Accumulator<typename Tile::type>;
  static constexpr int pitch = Tile::n + vector_of<A>;
  alignas(16) A values[Tile::m * pitch];

  __device__ __forceinline__ A* row(int m) { return values + m * pitch; }
  /// f(row, first column) for each run of V columns of the first `rows` rows and `columns` columns, spread over the
  /// threads so that neighbours have neighbouring columns. V divides `columns`.
  template <int V, class F>
  __device__ __forceinline__ void for_each_run(int rows, int columns, F&& f) {
    constexpr int runs = Tile::n / V, at_once = Tile::threads / runs;
    static_assert(Tile::threads % runs == 0);
    const int thread = static_cast<int>(threadIdx.x), column = thread % runs * V;
    if (column >= columns) return;  // no barrier below
    for (int row = thread / runs; row < rows; row += at_once) f(row, column);
  }
};

/// The buffers of a product, and then its result.
template <class Tile, Along along_a, Along along_b>
union TileMemory {
  Stage<Tile, along_a, along_b> stages[Tile::stages];
  OutTile<Tile> out;
};

/// All threads call this; the barrier is the caller's.
template <class Tile>
__device__ __forceinline__ void put(OutTile<Tile>& out, Accumulators<Tile>& sums) {
  using A = typename OutTile<Tile>::A;
  sums.for_each([&](int row, int column, A& value) { out.row(row)[column] = value; });
}

}  // namespace fovea::SIMT_WORLD
