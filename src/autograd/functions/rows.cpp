// gather_rows and scatter_rows: save the indices.
#include "kernels/rows/rows.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/matrix.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

Shape with_rows(Shape shape, std::int64_t rows) {
  shape[0] = rows;
  return shape;
}

// The ports see rows x elements per row.
View as_matrix(const Tensor& tensor, std::int64_t size) {
  return with_shape(tensor.view(), {tensor.shape()[0], size});
}

std::int64_t row_size(const char* name, const Tensor& x, const Tensor& indices) {
  if (x.shape().rank() == 0 || indices.shape().rank() != 1 || indices.dtype() != Dtype::i64) {
    fail(std::string(name) + ": needs x with rows and indices as a vector of i64, got " +
         to_string(x.shape()) + " and " + to_string(indices.shape()) + " of " +
         std::string(name_of(indices.dtype())));
  }
  return matrix_shape(x.shape())[1];
}

}  // namespace

Tensor gather_rows(const Tensor& x, const Tensor& indices) {
  const FunctionScope running("gather_rows");
  const std::int64_t size = row_size("gather_rows", x, indices);
  const RowsProblem p{.dtype = x.dtype(), .rows = x.shape()[0], .count = indices.numel(), .size = size};
  p.check();
  Tensor y = Tensor::empty(with_rows(x.shape(), p.count), p.dtype, x.device());
  const Tensor rows = indices.to(x.device());
  dispatch(rows_gather, p, {as_matrix(x, p.size), rows.view(), as_matrix(y, p.size)});
  return record("gather_rows", y, {x}, {rows}, [p](const Node& node, Tensor dy) -> Gradients {
    Tensor dx = Tensor::empty(with_rows(dy.shape(), p.rows), p.dtype, dy.device());
    dispatch(rows_gather_backward, p,
             {node.saved_at(0).view(), as_matrix(dy, p.size), as_matrix(dx, p.size)});
    return {dx};
  });
}

Tensor scatter_rows(const Tensor& x, const Tensor& indices, std::int64_t rows) {
  const FunctionScope running("scatter_rows");
  const std::int64_t size = row_size("scatter_rows", x, indices);
  const RowsProblem p{.dtype = x.dtype(), .rows = rows, .count = indices.numel(), .size = size};
  p.check();
  Tensor y = Tensor::empty(with_rows(x.shape(), rows), p.dtype, x.device());
  const Tensor places = indices.to(x.device());
  dispatch(rows_scatter, p, {as_matrix(x, p.size), places.view(), as_matrix(y, p.size)});
  return record("scatter_rows", y, {x}, {places}, [p](const Node& node, Tensor dy) -> Gradients {
    Tensor dx = Tensor::empty(with_rows(dy.shape(), p.count), p.dtype, dy.device());
    dispatch(rows_scatter_backward, p,
             {node.saved_at(0).view(), as_matrix(dy, p.size), as_matrix(dx, p.size)});
    return {dx};
  });
}

}  // namespace fovea
