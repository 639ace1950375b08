// Column sums of a matrix: bias gradients.
#pragma once

#include <cstdint>

namespace fovea {

/// sums[c] = sum over rows of x[row][c], in float lanes per part of rows, the parts (a number fixed by the
/// shape) merged in order in double.
void sum_columns(const float* x, std::int64_t rows, std::int64_t columns, float* sums);

}  // namespace fovea
