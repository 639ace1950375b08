// gelu by cuDNN's pointwise engine, in f32 and bf16: the elements are the channels of one pixel.
#include "kernels/cuda/library.hpp"
#include "kernels/pointwise/kernels.hpp"

namespace fovea {
namespace {

using P = PointwiseProblem;

GraphSpec forward_graph(const P& p) {
  GraphSpec g(gelu_forward.name, gelu_forward.cost(&p));
  g.input("x", p.dtype, per_channel(p.count));
  g.pointwise(GraphOp::gelu, {"x"}, "y");
  g.output("y", p.dtype, per_channel(p.count));
  return g;
}

GraphSpec backward_graph(const P& p) {
  GraphSpec g(gelu_backward.name, gelu_backward.cost(&p));
  g.input("x", p.dtype, per_channel(p.count));
  g.input("dy", p.dtype, per_channel(p.count));
  g.pointwise(GraphOp::gelu_backward, {"dy", "x"}, "dx");
  g.output("dx", p.dtype, per_channel(p.count));
  return g;
}

using Memo = library::Memo<2>;
std::array<std::int64_t, 2> key_of(const P& p) { return {static_cast<std::int64_t>(p.dtype), p.count}; }

library::Operation& forward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return forward_graph(p); });
}
library::Operation& backward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return backward_graph(p); });
}

}  // namespace

bool gelu_forward_cudnn_supports(const P& p) { return library::has_dtype(p) && forward(p).is_supported(); }
bool gelu_backward_cudnn_supports(const P& p) { return library::has_dtype(p) && backward(p).is_supported(); }
void gelu_forward_cudnn(const P& p, Ports t, Stream stream) { forward(p).run({t[0], t[1]}, stream); }
void gelu_backward_cudnn(const P& p, Ports t, Stream stream) { backward(p).run({t[0], t[1], t[2]}, stream); }

}  // namespace fovea
