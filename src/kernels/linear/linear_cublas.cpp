// linear by cublasLt, with bias and ReLU in the epilogue and the gradient of the bias in that of the weight gradient;
// where no algorithm does the last, cuDNN sums the rows. cublasLt wants the bias of a bf16 product in bf16, so it is
// rounded first, as y is after.
#include <optional>

#include "kernels/cuda/common_graphs.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/linear/kernels.hpp"
#include "kernels/runtime/storage.hpp"

namespace fovea {
namespace {

using P = LinearProblem;

MatmulSpec forward_product(const P& p, bool bias) {
  MatmulSpec s{
      .primitive = linear_forward.name, .cost = linear_forward.cost(&p), .m = p.n, .n = p.out, .k = p.in};
  s.transpose_b = true;
  s.in = s.out = p.dtype;
  s.epilogue = bias     ? (p.relu ? Epilogue::relu_bias : Epilogue::bias)
               : p.relu ? Epilogue::relu
                        : Epilogue::none;
  return s;
}

MatmulSpec data_product(const P& p) {
  MatmulSpec s{.primitive = linear_backward_data.name,
               .cost = linear_backward_data.cost(&p),
               .m = p.n,
               .n = p.in,
               .k = p.out};
  s.in = s.out = p.dtype;
  return s;
}

MatmulSpec weights_product(const P& p, bool bias) {
  MatmulSpec s{.primitive = linear_backward_weights.name,
               .cost = linear_backward_weights.cost(&p),
               .m = p.out,
               .n = p.in,
               .k = p.n};
  s.transpose_a = true;
  s.in = p.dtype;
  s.out = param_dtype(p.dtype);
  if (bias) s.epilogue = Epilogue::bias_gradient;
  return s;
}

using Memo = library::Memo<6>;
Memo::Key key_of(const P& p, bool bias) {
  return {static_cast<std::int64_t>(p.dtype), p.relu, p.n, p.in, p.out, bias};
}

library::Operation& forward(const P& p, bool bias) {
  static Memo memo;
  return memo.get(key_of(p, bias), [&] { return forward_product(p, bias); });
}
library::Operation& data(const P& p) {
  static Memo memo;
  return memo.get(key_of(p, false), [&] { return data_product(p); });
}
library::Operation& weights(const P& p, bool bias) {
  static Memo memo;
  return memo.get(key_of(p, bias), [&] { return weights_product(p, bias); });
}
library::Operation& sum(const P& p) {
  static Memo memo;
  return memo.get(key_of(p, false), [&] {
    return graphs::channel_sum(linear_backward_weights.name, p.dtype, {p.n, p.out, 1, 1});
  });
}
library::Operation& rounding(const P& p) {
  static Memo memo;
  return memo.get(key_of(p, false),
                  [&] { return graphs::cast(linear_forward.name, Dtype::f32, Dtype::bf16, p.out); });
}

}  // namespace

bool linear_forward_cublas_supports(const P& p) {
  return library::has_dtype(p) && forward(p, false).is_supported() && forward(p, true).is_supported() &&
         (p.dtype == Dtype::f32 || rounding(p).is_supported());
}
bool linear_backward_data_cublas_supports(const P& p) {
  return library::has_dtype(p) && data(p).is_supported();
}
bool linear_backward_weights_cublas_supports(const P& p) {
  return library::has_dtype(p) && weights(p, false).is_supported() &&
         (weights(p, true).is_supported() || sum(p).is_supported());
}

void linear_forward_cublas(const P& p, Ports t, Stream stream) {
  if (!t[2]) return forward(p, false).run({t[0], t[1], t[3]}, stream);
  if (p.dtype == Dtype::f32) return forward(p, true).run({t[0], t[1], t[3], t[2]}, stream);
  const Shape shape{p.out};
  const Storage storage(shape, Dtype::bf16, stream.device);
  const View rounded{storage.data(), shape, Dtype::bf16, stream.device};
  rounding(p).run({t[2], rounded}, stream);
  forward(p, true).run({t[0], t[1], t[3], rounded}, stream);
}

void linear_backward_data_cublas(const P& p, Ports t, Stream stream) {
  data(p).run({t[0], t[1], t[2]}, stream);
}

void linear_backward_weights_cublas(const P& p, Ports t, Stream stream) {
  if (!t[3]) return weights(p, false).run({t[1], t[0], t[2]}, stream);
  if (weights(p, true).is_supported()) return weights(p, true).run({t[1], t[0], t[2], t[3]}, stream);
  weights(p, false).run({t[1], t[0], t[2]}, stream);
  sum(p).run({t[1], t[3]}, stream);
}

}  // namespace fovea
