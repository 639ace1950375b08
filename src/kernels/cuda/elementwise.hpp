// Kernels in which each thread does one item after another on its own: how items are given out. Included by kernel
// files only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/values.hpp"

namespace fovea::SIMT_WORLD {

constexpr int element_threads = 256;
/// Blocks that share a multiprocessor at least: 80 registers for a thread.
constexpr int element_blocks_at_once = 3;

/// A thread for each item, but no more blocks than keep the machine busy: they go round.
inline simt::Launch element_launch(std::int64_t items, Stream stream) {
  const std::int64_t most = std::int64_t{64} * simt::limits().multiprocessors;
  return {.grid = static_cast<unsigned>(std::min<std::int64_t>(blocks_for(items, element_threads), most)),
          .block = element_threads,
          .stream = stream_of(stream)};
}

/// f(item) for this thread's items of `count`.
template <class F>
__device__ __forceinline__ void for_each_item(std::int64_t count, F&& f) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * element_threads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * element_threads + threadIdx.x; i < count;
       i += stride)
    f(i);
}

/// f(first element, std::integral_constant<int, N>) for this thread's runs of V of `count` elements; the rest that
/// makes no whole run goes one by one. Launched for (count + V - 1) / V items or more.
template <int V, class F>
__device__ __forceinline__ void for_each_run(std::int64_t count, F&& f) {
  const std::int64_t whole = count / V * V;
  for_each_item(count / V, [&](std::int64_t i) { f(i * V, std::integral_constant<int, V>{}); });
  for_each_item(count - whole, [&](std::int64_t i) { f(whole + i, std::integral_constant<int, 1>{}); });
}

/// visit_element() with the vector of 16 bytes where all pointers allow it, else 1; whatever the count, as
/// for_each_run() takes the rest.
template <class F>
void visit_runs(Dtype dtype, bool aligned, F&& f) {
  visit_vector(dtype, 0, aligned, std::forward<F>(f));
}

}  // namespace fovea::SIMT_WORLD
