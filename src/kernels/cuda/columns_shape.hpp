// How blocks of threads go over a matrix of rows x channels: a pure function of the sizes and of what the machine
// allows, so that it is tested without one.
#pragma once

#include <cstdint>

#include "simt/error.hpp"

namespace fovea {

/// Threads of a block lie side by side along the channels (`lanes`), each with a vector of them, and below each
/// other along the rows (`row_lanes`). A matrix is cut into tiles of channels and parts of rows: a block each.
struct ColumnShape {
  static constexpr int threads = 256;
  std::int64_t matrices = 1;  // of a batch, one after another in memory
  std::int64_t rows = 1, channels = 1;
  int lanes = 1;  // a power of two, as row_lanes is
  int tiles = 1;
  int parts = 1;
  std::int64_t rows_per_part = 1;  // the last part may have fewer, but none is empty, unless rows is 0

  int row_lanes() const { return threads / lanes; }
  std::int64_t blocks() const { return matrices * parts * tiles; }
};

/// About four blocks for each multiprocessor; at least four rows for each thread, and at most 256, so that sums of
/// floats stay short. `vector` is the number of channels a thread takes.
ColumnShape column_shape(std::int64_t matrices, std::int64_t rows, std::int64_t channels, int vector,
                         const simt::Limits& limits);

/// Whether a launch of this shape is possible.
bool fits_launch(const ColumnShape& shape);

}  // namespace fovea
