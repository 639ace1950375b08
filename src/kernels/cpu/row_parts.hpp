// RowParts: the rows of a matrix cut into parts, a number fixed by its size, for kernels that sum columns along the way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fovea {

struct RowParts {
  static constexpr std::int64_t most = 64;
  std::int64_t rows, count;
  /// Parts of at least `least` elements, which are worth a merge.
  RowParts(std::int64_t of_rows, std::int64_t channels, std::int64_t least)
      : rows(of_rows), count(std::clamp<std::int64_t>(rows * channels / least, 1, std::min(rows, most))) {}
  std::int64_t begin(std::int64_t part) const { return part * rows / count; }
  std::int64_t end(std::int64_t part) const { return begin(part + 1); }
};

/// out[c] = sums[c] + sums[c + pitch] + ..., of so many parts, in order.
template <class T>
void merge_parts(const double* sums, std::int64_t parts, std::int64_t pitch, std::int64_t channels, T* out) {
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (std::int64_t part = 0; part < parts; ++part) sum += sums[part * pitch + c];
    out[c] = static_cast<T>(sum);
  }
}

}  // namespace fovea
