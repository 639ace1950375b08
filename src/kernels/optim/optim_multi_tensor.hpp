// What the multi_tensor kernels share: the tensors of a problem, cut into chunks, a block for each. Included by kernel
// files only.
//
// The table lies on the device and the host does not read it. It knows how many elements and tensors there are, and
// so how many chunks there can be at most: the grid is that, and blocks beyond the last chunk have nothing to do. A
// first kernel of one block, plan, makes the running sum of the rows' chunks, in which each block of the second finds
// its row by bisection.
#pragma once

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/scratch.hpp"
#include "kernels/optim/kernels.hpp"

namespace fovea::SIMT_WORLD {

constexpr int optim_threads = 256;
constexpr int chunk_elements = 4096;

/// The rows, in either form: the table's, or the one that the launch brings along.
struct TensorTable {
  const TensorRow* rows;  // null: flat
  TensorRow flat;
  int tensors;
  __device__ __forceinline__ TensorRow operator[](int i) const { return rows == nullptr ? flat : rows[i]; }
};

/// Elements [begin, end) of a row. Empty for the blocks beyond the last chunk.
struct TensorChunk {
  int row;
  std::int64_t begin, end;
};

__device__ __forceinline__ int chunks_in(std::int64_t count) {
  return static_cast<int>((count + chunk_elements - 1) / chunk_elements);
}

/// The sum over this thread and those before it in the block; `total` becomes the block's.
__device__ __forceinline__ int inclusive_sum(int value, int& total) {
  SIMT_SHARED(int, part, [optim_threads / 32]);
  const int lane = static_cast<int>(simt::lane()), warp = static_cast<int>(simt::warp());
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const int before = __shfl_up_sync(simt::all_lanes, value, static_cast<unsigned>(offset));
    if (lane >= offset) value += before;
  }
  if (lane == 31) part[warp] = value;
  __syncthreads();
  total = 0;
  for (int w = 0; w < optim_threads / 32; ++w) {
    if (w == warp) value += total;
    total += part[w];
  }
  __syncthreads();
  return value;
}

/// first_chunk[i], i in [0, tensors]: the chunks of the rows before row i. row(i) is called once for each row.
template <class Row>
__device__ __forceinline__ void plan_chunks(const TensorTable& table, int* first_chunk, Row&& row) {
  int before = 0;
  for (int base = 0; base < table.tensors; base += optim_threads) {
    const int i = base + static_cast<int>(threadIdx.x);
    int total = 0;
    const int sum = inclusive_sum(i < table.tensors ? chunks_in(table[i].count) : 0, total);
    if (i < table.tensors) {
      first_chunk[i + 1] = before + sum;
      row(i);
    }
    before += total;
  }
  if (threadIdx.x == 0) first_chunk[0] = 0;
}

/// The chunk of this block: the last row whose first chunk is not behind it. Rows without elements have no chunk.
__device__ __forceinline__ TensorChunk find_chunk(const TensorTable& table, const int* first_chunk) {
  const int chunk = static_cast<int>(blockIdx.x);
  if (chunk >= first_chunk[table.tensors]) return {0, 0, 0};
  int low = 0, high = table.tensors;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (first_chunk[middle] <= chunk) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const std::int64_t begin = std::int64_t{chunk - first_chunk[low]} * chunk_elements;
  const std::int64_t count = table[low].count;
  return {low, begin, begin + chunk_elements < count ? begin + chunk_elements : count};
}

template <class P>
TensorTable table_of(const P& p, Ports ports) {
  if (p.tensors == 0) return {nullptr, flat_row(p, ports), 1};
  return {reinterpret_cast<const TensorRow*>(ports[0].as<std::int64_t>()), {}, static_cast<int>(p.tensors)};
}

/// Each row has at most one chunk that is not full.
template <class P>
std::int64_t most_chunks(const P& p) {
  return p.count / chunk_elements + (p.tensors > 0 ? p.tensors : 1);
}

template <class P>
bool supports_multi_tensor(const P& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return supports_f32_f64(p) && p.tensors < most && most_chunks(p) < most && runs_here();
}

inline simt::Launch chunk_launch(std::int64_t blocks, Stream stream) {
  return {.grid = static_cast<unsigned>(blocks), .block = optim_threads, .stream = stream_of(stream)};
}

}  // namespace fovea::SIMT_WORLD
