// MatmulSpec: a product of matrices with what cublasLt can do to it on the way out: plain data, free of its types.
//
//   d[m,n] = epilogue( op(a) op(b) ),  row by row in memory, op(a) of m x k and op(b) of k x n; sums are made in f32
//
//   bias                    + bias[n]
//   relu, gelu (+ bias)     of that; with aux it also keeps what its gradient needs: a bit for each element, or what
//                           went in
//   relu_backward           0 where the bit of aux is 0
//   gelu_backward           times the derivative at aux
//   ... with bias           also bias[n] = the sums of d over m, the gradient of the layer before
//   bias_gradient           also bias[m] = the sums of op(a) over k: of d = dy^T x, the gradient of this layer's bias
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

enum class Epilogue : std::uint8_t {
  none,
  bias,
  relu,
  relu_bias,
  relu_aux,
  relu_aux_bias,
  relu_backward,
  relu_backward_bias,
  gelu,
  gelu_bias,
  gelu_aux,
  gelu_aux_bias,
  gelu_backward,
  gelu_backward_bias,
  bias_gradient,
};
std::string_view name_of(Epilogue epilogue);

struct MatmulSpec {
  std::string primitive;
  Cost cost;
  std::int64_t m = 1, n = 1, k = 1;
  bool transpose_a = false, transpose_b = false;  // a is in memory as k x m; b as n x k
  Dtype in = Dtype::f32, out = Dtype::f32;
  Epilogue epilogue = Epilogue::none;
  double scale = 1;

  bool has_bias() const;
  bool writes_bias() const;
  bool has_aux() const;
  bool writes_aux() const;
  std::int64_t bias_size() const { return epilogue == Epilogue::bias_gradient ? m : n; }
  /// Columns of aux: of values as `out`, or of bits in whole groups of 128.
  std::int64_t aux_columns() const;
  std::int64_t aux_bytes() const;

  /// Empty, or one sentence.
  std::string problem() const;
  std::string text() const;
};

}  // namespace fovea
