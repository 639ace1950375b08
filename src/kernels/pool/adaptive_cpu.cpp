// adaptive_avg_pool on the CPU: a pixel of the result at a time, its channels side by side in vectors.
#include <algorithm>

#include "kernels/cpu/parallel.hpp"
#include "kernels/pool/kernels.hpp"

namespace fovea {
namespace {

// to[pixel] = the sum over the pixels of a window of `from`, each with its share: window(row, rows, columns) and so on
// say where the window lies, share(h, w) what one of its pixels counts.
template <class T, class Window, class Share>
void gather(std::int64_t n, std::int64_t to_h, std::int64_t to_w, std::int64_t from_h, std::int64_t from_w,
            std::int64_t c, const T* from, T* to, Window&& window, Share&& share) {
  parallel_for(n * to_h, [&](std::int64_t line) {
    const std::int64_t image = line / to_h, row = line % to_h;
    for (std::int64_t column = 0; column < to_w; ++column) {
      T* sum = to + (line * to_w + column) * c;
      std::fill_n(sum, c, T(0));
      const auto [rows, columns] = window(row, column);
      for (std::int64_t h = rows.begin; h < rows.end; ++h) {
        for (std::int64_t w = columns.begin; w < columns.end; ++w) {
          const T* values = from + ((image * from_h + h) * from_w + w) * c;
          const T factor = share(row, column, h, w);
#pragma omp simd
          for (std::int64_t k = 0; k < c; ++k) sum[k] += factor * values[k];
        }
      }
    }
  });
}

struct Area {
  PoolRange rows, columns;
};

std::int64_t window_size(const AdaptivePoolProblem& p, std::int64_t i, std::int64_t j) {
  return adaptive_taps(i, p.h, p.out_h).size() * adaptive_taps(j, p.w, p.out_w).size();
}

}  // namespace

void adaptive_avg_pool_forward_cpu(const AdaptivePoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    gather(
        p.n, p.out_h, p.out_w, p.h, p.w, p.c, ports[0].as<T>(), ports[1].as<T>(),
        [&](std::int64_t i, std::int64_t j) {
          return Area{adaptive_taps(i, p.h, p.out_h), adaptive_taps(j, p.w, p.out_w)};
        },
        [&](std::int64_t i, std::int64_t j, std::int64_t, std::int64_t) {
          return T(1) / static_cast<T>(window_size(p, i, j));
        });
  });
}

void adaptive_avg_pool_backward_cpu(const AdaptivePoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    gather(
        p.n, p.h, p.w, p.out_h, p.out_w, p.c, ports[0].as<T>(), ports[1].as<T>(),
        [&](std::int64_t h, std::int64_t w) {
          return Area{adaptive_windows(h, p.h, p.out_h), adaptive_windows(w, p.w, p.out_w)};
        },
        [&](std::int64_t, std::int64_t, std::int64_t i, std::int64_t j) {
          return T(1) / static_cast<T>(window_size(p, i, j));
        });
  });
}

}  // namespace fovea
