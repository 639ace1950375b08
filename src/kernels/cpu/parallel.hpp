// parallel_for: OpenMP loops whose result does not depend on the number of threads.
//
// Indices are given out statically and each index does all of its own work; kernels that reduce split the
// work into a number of parts fixed by the problem, never by the thread count, and merge the parts in order.
#pragma once

#include <cstdint>
#include <vector>

namespace fovea {

template <class F>
void parallel_for(std::int64_t count, F&& f) {
#pragma omp parallel for schedule(static) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) f(i);
}

/// Splits [0, count) into blocks of `block` and calls f(begin, end) for each, in parallel.
template <class F>
void parallel_blocks(std::int64_t count, std::int64_t block, F&& f) {
  const std::int64_t blocks = (count + block - 1) / block;
  parallel_for(blocks, [&](std::int64_t i) { f(i * block, i + 1 == blocks ? count : (i + 1) * block); });
}

}  // namespace fovea
