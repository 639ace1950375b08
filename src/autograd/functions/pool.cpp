// Pooling: the maximum keeps its indices (two bits each in a small window), averages keep nothing.
#include "kernels/pool/pool.hpp"

#include "autograd/functions.hpp"
#include "autograd/functions/into.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

void need_image(const char* name, const Tensor& x) {
  if (x.shape().rank() != 4) fail(std::string(name) + ": needs x of N,H,W,C, got " + to_string(x.shape()));
}

PoolProblem problem_of(const char* name, const Tensor& x, const PoolOptions& o, const Into& into) {
  need_image(name, x);
  return {.dtype = x.dtype(),
          .count_include_pad = o.count_include_pad,
          .n = x.shape()[0],
          .h = x.shape()[1],
          .w = x.shape()[2],
          .c = x.shape()[3],
          .kernel_h = o.kernel_h,
          .kernel_w = o.kernel_w,
          .stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .pad_h = o.pad_h,
          .pad_w = o.pad_w,
          .ceil_mode = o.ceil_mode,
          .y_slice = slice_of(into)};
}

}  // namespace

Tensor max_pool(const Tensor& x, const PoolOptions& options, const Into& into) {
  const FunctionScope running("max_pool");
  const PoolProblem p = problem_of("max_pool", x, options, into);
  p.check_max();
  Tensor y = result_of(into, p.y_shape(), p.dtype, x.device());
  const Tensor indices =
      will_record({x}) ? Tensor::empty(p.indices_shape(), Dtype::u8, x.device()) : Tensor{};
  dispatch(max_pool_forward, p, {x.view(), y.view(), indices.view()});
  return record_into(
      "max_pool", into, y, {x}, {indices}, [p](const Node& node, const Tensor& dy) -> Gradients {
        Tensor dx = Tensor::empty(p.x_shape(), p.dtype, dy.device());
        dispatch(max_pool_backward, p, {node.saved_at(0).view(), cut(dy, p.y_slice, p.c).view(), dx.view()});
        return {dx};
      });
}

Tensor avg_pool(const Tensor& x, const PoolOptions& options, const Into& into) {
  const FunctionScope running("avg_pool");
  const PoolProblem p = problem_of("avg_pool", x, options, into);
  p.check();
  Tensor y = result_of(into, p.y_shape(), p.dtype, x.device());
  dispatch(avg_pool_forward, p, {x.view(), y.view()});
  return record_into("avg_pool", into, y, {x}, {}, [p](const Node&, const Tensor& dy) -> Gradients {
    Tensor dx = Tensor::empty(p.x_shape(), p.dtype, dy.device());
    dispatch(avg_pool_backward, p, {cut(dy, p.y_slice, p.c).view(), dx.view()});
    return {dx};
  });
}

Tensor adaptive_avg_pool(const Tensor& x, std::int64_t out_h, std::int64_t out_w) {
  const FunctionScope running("adaptive_avg_pool");
  need_image("adaptive_avg_pool", x);
  const AdaptivePoolProblem p{.dtype = x.dtype(),
                              .n = x.shape()[0],
                              .h = x.shape()[1],
                              .w = x.shape()[2],
                              .c = x.shape()[3],
                              .out_h = out_h,
                              .out_w = out_w};
  p.check();
  if (p.h == out_h && p.w == out_w) return x;
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, x.device());
  dispatch(adaptive_avg_pool_forward, p, {x.view(), y.view()});
  return record("adaptive_avg_pool", y, {x}, {}, [p](const Node&, Tensor dy) -> Gradients {
    Tensor dx = Tensor::empty(p.x_shape(), p.dtype, dy.device());
    dispatch(adaptive_avg_pool_backward, p, {dy.view(), dx.view()});
    return {dx};
  });
}

Tensor global_avg_pool(const Tensor& x) {
  const FunctionScope running("global_avg_pool");
  need_image("global_avg_pool", x);
  const GlobalPoolProblem p{
      .dtype = x.dtype(), .n = x.shape()[0], .h = x.shape()[1], .w = x.shape()[2], .c = x.shape()[3]};
  Tensor y = Tensor::empty(p.y_shape(), p.dtype, x.device());
  dispatch(global_avg_pool_forward, p, {x.view(), y.view()});
  return record("global_avg_pool", y, {x}, {}, [p](const Node&, Tensor dy) -> Gradients {
    Tensor dx = Tensor::empty(p.x_shape(), p.dtype, dy.device());
    dispatch(global_avg_pool_backward, p, {dy.view(), dx.view()});
    return {dx};
  });
}

}  // namespace fovea
