// rows, own parallel copies: rows are cut into blocks of columns, each block of each row is one contiguous
// copy. The gradient of a gather gives every thread columns of its own and walks the indices in order, so
// repeated rows add up in the same order whatever the number of threads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/rows/kernels.hpp"

namespace fovea {
namespace {

constexpr std::int64_t block = 4096;

// Calls f(row, first column, columns) for blocks of all of `rows` rows.
template <class F>
void for_each_block(std::int64_t rows, std::int64_t size, F&& f) {
  const std::int64_t blocks = (size + block - 1) / block;
  parallel_for(rows * blocks, [&](std::int64_t i) {
    const std::int64_t column = i % blocks * block;
    f(i / blocks, column, std::min(block, size - column));
  });
}

template <class T>
void copy(const T* from, T* to, std::int64_t count) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}

template <class T>
void pick(const RowsProblem& p, const T* from, const std::int64_t* indices, T* to) {
  check_row_indices(p, indices);
  for_each_block(p.count, p.size, [&](std::int64_t row, std::int64_t column, std::int64_t columns) {
    copy(from + indices[row] * p.size + column, to + row * p.size + column, columns);
  });
}

}  // namespace

void rows_gather_cpu(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    pick<T>(p, ports[0].as<T>(), ports[1].as<std::int64_t>(), ports[2].as<T>());
  });
}

void rows_gather_backward_cpu(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t* indices = ports[0].as<std::int64_t>();
    const T* dy = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    check_row_indices(p, indices);
    parallel_blocks(p.size, block, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = 0; r < p.rows; ++r)
        std::fill(dx + r * p.size + begin, dx + r * p.size + end, T(0));
      for (std::int64_t i = 0; i < p.count; ++i) {
        const T* from = dy + i * p.size;
        T* to = dx + indices[i] * p.size;
#pragma omp simd
        for (std::int64_t c = begin; c < end; ++c) to[c] += from[c];
      }
    });
  });
}

void rows_scatter_cpu(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    const std::int64_t* indices = ports[1].as<std::int64_t>();
    T* y = ports[2].as<T>();
    check_distinct_row_indices(p, indices);
    std::vector<std::int64_t> source(static_cast<std::size_t>(p.rows), -1);
    for (std::int64_t i = 0; i < p.count; ++i) source[static_cast<std::size_t>(indices[i])] = i;
    for_each_block(p.rows, p.size, [&](std::int64_t row, std::int64_t column, std::int64_t columns) {
      const std::int64_t from = source[static_cast<std::size_t>(row)];
      T* to = y + row * p.size + column;
      if (from < 0) {
        std::fill_n(to, columns, T(0));
      } else {
        copy(x + from * p.size + column, to, columns);
      }
    });
  });
}

void rows_scatter_backward_cpu(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    pick<T>(p, ports[1].as<T>(), ports[0].as<std::int64_t>(), ports[2].as<T>());
  });
}

}  // namespace fovea
