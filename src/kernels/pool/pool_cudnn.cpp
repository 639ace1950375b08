// Average pooling by cuDNN's resampling, forward, in f32 and bf16; of a whole image as a window of its size.
#include "kernels/cuda/library.hpp"
#include "kernels/pool/kernels.hpp"

namespace fovea {
namespace {

GraphSpec pool_graph(const PoolProblem& p, const char* name, const Cost& cost) {
  GraphSpec g(name, cost);
  const GraphWindow window{.window = {p.kernel_h, p.kernel_w},
                           .stride = {p.stride_h, p.stride_w},
                           .pad = {p.pad_h, p.pad_w},
                           .dilation = {1, 1}};
  g.input("x", p.dtype, {p.n, p.c, p.h, p.w});
  g.windowed(p.count_include_pad ? GraphOp::pool_average : GraphOp::pool_average_inside, {"x"}, "y", window);
  g.output("y", p.dtype, {p.n, p.c, p.out_h(), p.out_w()});
  return g;
}

using Key = std::array<std::int64_t, 12>;
Key key_of(const PoolProblem& p) {
  return {static_cast<std::int64_t>(p.dtype),
          p.count_include_pad,
          p.n,
          p.h,
          p.w,
          p.c,
          p.kernel_h,
          p.kernel_w,
          p.stride_h,
          p.stride_w,
          p.pad_h,
          p.pad_w};
}

library::Operation& pool(const PoolProblem& p) {
  static library::Memo<12> memo;
  return memo.get(key_of(p), [&] { return pool_graph(p, avg_pool_forward.name, avg_pool_forward.cost(&p)); });
}
library::Operation& pool(const GlobalPoolProblem& p) {
  static library::Memo<12> memo;
  const PoolProblem whole = whole_image(p);
  return memo.get(key_of(whole), [&] {
    return pool_graph(whole, global_avg_pool_forward.name, global_avg_pool_forward.cost(&p));
  });
}

}  // namespace

bool avg_pool_forward_cudnn_supports(const PoolProblem& p) {
  return library::has_dtype(p) && p.ceil_mode == 0 && p.y_slice.is_whole() && pool(p).is_supported();
}
void avg_pool_forward_cudnn(const PoolProblem& p, Ports t, Stream stream) {
  pool(p).run({t[0], t[1]}, stream);
}

bool global_avg_pool_forward_cudnn_supports(const GlobalPoolProblem& p) {
  return library::has_dtype(p) && pool(p).is_supported();
}
void global_avg_pool_forward_cudnn(const GlobalPoolProblem& p, Ports t, Stream stream) {
  pool(p).run({t[0], t[1]}, stream);
}

}  // namespace fovea
