// sum_of_squares over all tensors ("multi_tensor"), and clip_scale ("scalar").
//
//   plan   one block: the running sum of the rows' chunks (optim_multi_tensor.hpp)
//   sum    a block per chunk of 4096 elements: its sum of squares, in double
//   merge  one block: the chunks' sums
//
// Idea: the result is in double, and so is every sum: the square of a float is exact there, and what a device does in
// double is hidden behind the reading. Each thread adds the chunks' (or elements') sums at a fixed stride in order,
// the block merges its threads by a fixed tree, so the same gradients give the same bits.
//
// Traffic: the elements, read once (Cost's bytes), 8 bytes per chunk written and read.
// Launch: 1 block, count / 4096 + tensors blocks, 1 block, of 256 threads. clip_scale: one thread.
#include "kernels/cuda/block_sum.hpp"
#include "kernels/optim/optim_multi_tensor.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <int V, class T>
__device__ __forceinline__ double squares(const T* x, std::int64_t i) {
  const simt::Vec<T, V> values = simt::load<V>(x + i);
  double sum = 0;
#pragma unroll
  for (int e = 0; e < V; ++e) sum += double(values[e]) * double(values[e]);
  return sum;
}

__global__ void __launch_bounds__(optim_threads) sum_of_squares_plan(TensorTable table, int* first_chunk) {
  plan_chunks(table, first_chunk, [](int) {});
}

template <class T>
__global__ void __launch_bounds__(optim_threads)
    sum_of_squares_chunk(TensorTable table, const int* first_chunk, double* sums) {
  constexpr int vector = vector_of<T>;
  const TensorChunk chunk = find_chunk(table, first_chunk);
  if (chunk.begin == chunk.end) return;  // the whole block
  const TensorRow row = table[chunk.row];
  const T* x = array_at<const T>(row.grad);
  std::int64_t begin = chunk.begin;
  double sum = 0;
  if ((row.grad & 15) == 0) {
    const std::int64_t whole = chunk.end - (chunk.end - begin) % vector;
    for (std::int64_t i = begin + std::int64_t{threadIdx.x} * vector; i < whole; i += optim_threads * vector)
      sum += squares<vector>(x, i);
    begin = whole;
  }
  for (std::int64_t i = begin + threadIdx.x; i < chunk.end; i += optim_threads) sum += squares<1>(x, i);
  sum = block_sum<optim_threads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(optim_threads)
    sum_of_squares_merge(const int* first_chunk, int tensors, const double* sums, double* result) {
  const int chunks = first_chunk[tensors];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < chunks; i += optim_threads) sum += sums[i];
  sum = block_sum<optim_threads>(sum);
  if (threadIdx.x == 0) *result = sum;
}

__global__ void __launch_bounds__(1) clip_scale_kernel(double clip_norm, const double* sum, double* scale) {
  *scale = clip_scale_of(*sum, clip_norm);
}

}  // namespace

bool supports_sum_of_squares_multi_tensor(const SumOfSquaresProblem& p) { return supports_multi_tensor(p); }
bool supports_clip_scale_scalar(const ClipScaleProblem&) { return runs_here(); }

void sum_of_squares_multi_tensor(const SumOfSquaresProblem& p, Ports ports, Stream stream) {
  const TensorTable table = table_of(p, ports);
  const Scratch<int> first_chunk(table.tensors + 1, stream, "chunks before each tensor");
  const Scratch<double> sums(most_chunks(p), stream, "sums of the chunks");
  simt::launch("sum_of_squares multi_tensor, plan", &sum_of_squares_plan, chunk_launch(1, stream), table,
               first_chunk.data());
  simt::launch("sum_of_squares multi_tensor, sum",
               p.dtype == Dtype::f64 ? &sum_of_squares_chunk<double> : &sum_of_squares_chunk<float>,
               chunk_launch(most_chunks(p), stream), table, first_chunk.data(), sums.data());
  simt::launch("sum_of_squares multi_tensor, merge", &sum_of_squares_merge, chunk_launch(1, stream),
               first_chunk.data(), table.tensors, sums.data(), ports[1].as<double>());
}

void clip_scale_scalar(const ClipScaleProblem& p, Ports ports, Stream stream) {
  simt::launch("clip_scale scalar", &clip_scale_kernel, {.grid = 1, .block = 1, .stream = stream_of(stream)},
               p.clip_norm, ports[0].as<const double>(), ports[1].as<double>());
}

}  // namespace fovea::SIMT_WORLD
