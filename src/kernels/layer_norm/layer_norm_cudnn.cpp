// layer_norm by cuDNN's graph API, in f32 and bf16: its own normalisation of rows, forward with or without the statistics,
// and its backward. A row is an image of one pixel.
#include <bit>

#include "kernels/cpu/buffer.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/layer_norm/kernels.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {
namespace {

using P = LayerNormProblem;

GraphShape rows_of(const P& p) { return {p.rows, p.channels, 1, 1}; }
GraphShape per_row(const P& p) { return {p.rows, 1, 1, 1}; }

GraphSpec forward_graph(const P& p, bool statistics) {
  GraphSpec g(layer_norm_forward.name, layer_norm_forward.cost(&p));
  g.input("x", p.dtype, rows_of(p));
  g.input("gamma", param_dtype(p.dtype), per_channel(p.channels));
  g.input("beta", param_dtype(p.dtype), per_channel(p.channels));
  g.constant("eps", p.eps);
  g.output("y", p.dtype, rows_of(p));
  if (!statistics) {
    g.node(GraphOp::row_norm_inference, {"x", "gamma", "beta", "eps"}, {"y"});
    return g;
  }
  g.node(GraphOp::row_norm_training, {"x", "gamma", "beta", "eps"}, {"y", "mean", "rstd"});
  g.output("mean", param_dtype(p.dtype), per_row(p));
  g.output("rstd", param_dtype(p.dtype), per_row(p));
  return g;
}

GraphSpec backward_graph(const P& p) {
  GraphSpec g(layer_norm_backward.name, layer_norm_backward.cost(&p));
  g.input("x", p.dtype, rows_of(p));
  g.input("dy", p.dtype, rows_of(p));
  g.input("gamma", param_dtype(p.dtype), per_channel(p.channels));
  g.input("mean", param_dtype(p.dtype), per_row(p));
  g.input("rstd", param_dtype(p.dtype), per_row(p));
  g.node(GraphOp::row_norm_backward, {"dy", "x", "gamma", "mean", "rstd"}, {"dx", "dgamma", "dbeta"});
  g.output("dx", p.dtype, rows_of(p));
  g.output("dgamma", param_dtype(p.dtype), per_channel(p.channels));
  g.output("dbeta", param_dtype(p.dtype), per_channel(p.channels));
  return g;
}

using Key = std::array<std::int64_t, 5>;
Key key_of(const P& p, bool statistics) {
  return {static_cast<std::int64_t>(p.dtype), p.rows, p.channels, std::bit_cast<std::int64_t>(p.eps),
          statistics};
}
using Memo = library::Memo<5>;

library::Operation& forward(const P& p, bool statistics) {
  static Memo memo;
  return memo.get(key_of(p, statistics), [&] { return forward_graph(p, statistics); });
}
library::Operation& backward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p, true), [&] { return backward_graph(p); });
}

}  // namespace

bool layer_norm_forward_cudnn_supports(const P& p) {
  return library::has_dtype(p) && forward(p, true).is_supported() && forward(p, false).is_supported();
}
bool layer_norm_backward_cudnn_supports(const P& p) {
  return library::has_dtype(p) && backward(p).is_supported();
}

void layer_norm_forward_cudnn(const P& p, Ports t, Stream stream) {
  if (t[4] && t[5]) return forward(p, true).run({t[0], t[1], t[2], t[3], t[4], t[5]}, stream);
  forward(p, false).run({t[0], t[1], t[2], t[3]}, stream);
}
// cuDNN does not promise that dx may be dy, which the engine reads more than once.
void layer_norm_backward_cudnn(const P& p, Ports t, Stream stream) {
  if (t[5].data == t[1].data) {
    const Buffer dx(t[5].shape, t[5].dtype, t[5].device);
    backward(p).run({t[0], t[1], t[2], t[3], t[4], dx.view, t[6], t[7]}, stream);
    return copy(t[5], dx.view, stream);
  }
  backward(p).run({t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]}, stream);
}

}  // namespace fovea
