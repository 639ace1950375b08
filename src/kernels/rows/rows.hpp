// rows: taking rows out of a matrix and putting them back, by index.
//
//   gather    y[i, :] = x[indices[i], :]          dx[indices[i], :] += dy[i, :], zero elsewhere
//   scatter   y[indices[i], :] = x[i, :], zero elsewhere          dx[i, :] = dy[indices[i], :]
//
// All but the first dimension count as one row. An index outside [0, rows) is an Error that names it; so is
// an index that occurs twice in a scatter. In a gather it may, and its gradients add up, in the order of
// `indices`. A kernel of a device cannot throw: where it reads by an index outside it gives NaN, where it
// writes it passes the index over, and of an index that occurs twice in a scatter the last one counts.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct RowsProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t rows = 1;   // of the tensor that is indexed
  std::int64_t count = 1;  // of indices
  std::int64_t size = 1;   // elements per row
  void check() const;
  bool operator==(const RowsProblem&) const = default;
};

/// Ports: x (rows,size), indices (count, i64), y (count,size).
extern const PrimitiveOf<RowsProblem> rows_gather;
/// Ports: indices, dy (count,size), dx (rows,size).
extern const PrimitiveOf<RowsProblem> rows_gather_backward;
/// Ports: x (count,size), indices, y (rows,size).
extern const PrimitiveOf<RowsProblem> rows_scatter;
/// Ports: indices, dy (rows,size), dx (count,size).
extern const PrimitiveOf<RowsProblem> rows_scatter_backward;

}  // namespace fovea
