// scale_residual by vectorised loops over contiguous rows, float and double: one pass forward, one backward, in which df
// is written and dgamma summed. A dropped sample is copied, or zeroed, and f not read.
//
// dgamma: rows are cut into parts, a number fixed by the problem; a part sums blocks of 128 rows in the dtype and those in
// double, and parts are merged in order. Where y is larger than caches it is written past them.
#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/row_parts.hpp"
#include "kernels/cpu/stream_store.hpp"
#include "kernels/pointwise/scale_residual_kernels.hpp"

namespace fovea {
namespace {

constexpr std::int64_t elements_per_part = 16384, block_rows = 128;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

RowParts parts_of(const ScaleResidualProblem& p) {
  return {p.samples * p.rows, p.channels, elements_per_part};
}

template <class T>
struct Branch {
  std::vector<double> scales;
  std::int64_t rows;  // of a sample
  const T* gamma;
  T scale_of(std::int64_t row) const { return static_cast<T>(scales[size(row / rows)]); }
};

// df of a row; sum += s f dy.
template <class T>
void backward_row(const T* f, const T* gamma, const T* dy, std::int64_t channels, T s, T* df, T* sum) {
  if (s == 0) {
    std::fill_n(df, channels, T(0));
    return;
  }
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    const T gradient = s * dy[c];
    sum[c] += gradient * f[c];
    df[c] = gradient * gamma[c];
  }
}

template <class T>
void backward_part(const Branch<T>& branch, std::int64_t begin, std::int64_t end, std::int64_t channels,
                   const T* f, const T* dy, T* df, double* sums) {
  std::vector<T> block(size(channels));
  for (std::int64_t at = begin; at < end; at += block_rows) {
    std::fill(block.begin(), block.end(), T(0));
    for (std::int64_t row = at; row < std::min(at + block_rows, end); ++row) {
      const std::int64_t offset = row * channels;
      backward_row(f + offset, branch.gamma, dy + offset, channels, branch.scale_of(row), df + offset,
                   block.data());
    }
    for (std::int64_t c = 0; c < channels; ++c) sums[c] += double(block[size(c)]);
  }
}

}  // namespace

void scale_residual_forward_cpu(const ScaleResidualProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = ports[0].as<T>(), *f = ports[1].as<T>();
    T* y = ports[4].as<T>();
    const Branch<T> branch{branch_scales(p, ports[3].as<std::int64_t>()), p.rows, ports[2].as<T>()};
    const RowParts parts = parts_of(p);
    const bool past_cache = y != x && y != f && writes_past_cache(y, p.channels, parts.rows);
    parallel_for(parts.count, [&](std::int64_t part) {
      for (std::int64_t row = parts.begin(part); row < parts.end(part); ++row) {
        const T *from = x + row * p.channels, *branch_from = f + row * p.channels, *gamma = branch.gamma;
        T* to = y + row * p.channels;
        const T s = branch.scale_of(row);
        if (s == 0) {
          write_row(to, p.channels, past_cache, [&](std::int64_t c) { return from[c]; });
        } else {
          write_row(to, p.channels, past_cache,
                    [&](std::int64_t c) { return from[c] + s * gamma[c] * branch_from[c]; });
        }
      }
      finish_writes(past_cache);
    });
  });
}

void scale_residual_backward_cpu(const ScaleResidualProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *f = ports[0].as<T>(), *dy = ports[3].as<T>();
    T *df = ports[4].as<T>(), *dgamma = ports[5].as<T>();
    const Branch<T> branch{branch_scales(p, ports[2].as<std::int64_t>()), p.rows, ports[1].as<T>()};
    const RowParts parts = parts_of(p);
    std::vector<double> sums(size(parts.count * p.channels));
    parallel_for(parts.count, [&](std::int64_t part) {
      backward_part(branch, parts.begin(part), parts.end(part), p.channels, f, dy, df,
                    sums.data() + part * p.channels);
    });
    merge_parts(sums.data(), parts.count, p.channels, p.channels, dgamma);
  });
}

}  // namespace fovea
