// See sum_columns.hpp.
#include "kernels/cpu/sum_columns.hpp"

#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.hpp"

namespace fovea {

void sum_columns(const float* x, std::int64_t rows, std::int64_t columns, float* sums) {
  const std::int64_t parts = std::clamp<std::int64_t>(rows / 64, 1, 256),
                     per_part = (rows + parts - 1) / parts;
  std::vector<float> partial(static_cast<std::size_t>(parts * columns), 0.0f);
  parallel_for(parts, [&](std::int64_t part) {
    float* to = partial.data() + part * columns;
    for (std::int64_t row = part * per_part; row < std::min(rows, (part + 1) * per_part); ++row) {
      const float* from = x + row * columns;
#pragma omp simd
      for (std::int64_t c = 0; c < columns; ++c) to[c] += from[c];
    }
  });
  for (std::int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (std::int64_t part = 0; part < parts; ++part)
      sum += partial[static_cast<std::size_t>(part * columns + c)];
    sums[c] = static_cast<float>(sum);
  }
}

}  // namespace fovea
