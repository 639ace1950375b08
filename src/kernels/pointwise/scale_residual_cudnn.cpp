// scale_residual by cuDNN's pointwise engine, in f32 and bf16, where no sample's branch is dropped (p = 0, which is all of
// inference): its random numbers are not ours. Backward is one pass where an engine takes it; else, and where df lies where
// f or dy does, it is a pass that sums dgamma and then one that writes df.
#include "kernels/cuda/library.hpp"
#include "kernels/pointwise/scale_residual_kernels.hpp"

namespace fovea {
namespace {

using P = ScaleResidualProblem;

GraphShape rows_of(const P& p) { return {p.samples * p.rows, p.channels, 1, 1}; }

GraphSpec forward_graph(const P& p) {
  GraphSpec g(scale_residual_forward.name, scale_residual_forward.cost(&p));
  for (const char* name : {"x", "f"}) g.input(name, p.dtype, rows_of(p));
  g.input("gamma", param_dtype(p.dtype), per_channel(p.channels));
  g.pointwise(GraphOp::multiply, {"f", "gamma"}, "t");
  g.pointwise(GraphOp::add, {"x", "t"}, "y");
  g.output("y", p.dtype, rows_of(p));
  return g;
}

GraphSpec backward_graph(const P& p) {
  GraphSpec g(scale_residual_backward.name, scale_residual_backward.cost(&p));
  for (const char* name : {"f", "dy"}) g.input(name, p.dtype, rows_of(p));
  g.input("gamma", param_dtype(p.dtype), per_channel(p.channels));
  g.pointwise(GraphOp::multiply, {"dy", "gamma"}, "df");
  g.pointwise(GraphOp::multiply, {"f", "dy"}, "t");
  g.node(GraphOp::sum, {"t"}, {"dgamma"});
  g.output("df", p.dtype, rows_of(p));
  g.output("dgamma", param_dtype(p.dtype), per_channel(p.channels));
  return g;
}

GraphSpec sum_graph(const P& p) {
  GraphSpec g(scale_residual_backward.name, scale_residual_backward.cost(&p));
  for (const char* name : {"f", "dy"}) g.input(name, p.dtype, rows_of(p));
  g.pointwise(GraphOp::multiply, {"f", "dy"}, "t");
  g.node(GraphOp::sum, {"t"}, {"dgamma"});
  g.output("dgamma", param_dtype(p.dtype), per_channel(p.channels));
  return g;
}

GraphSpec data_graph(const P& p) {
  GraphSpec g(scale_residual_backward.name, {});
  g.input("dy", p.dtype, rows_of(p));
  g.input("gamma", param_dtype(p.dtype), per_channel(p.channels));
  g.pointwise(GraphOp::multiply, {"dy", "gamma"}, "df");
  g.output("df", p.dtype, rows_of(p));
  return g;
}

using Memo = library::Memo<3>;
Memo::Key key_of(const P& p) { return {static_cast<std::int64_t>(p.dtype), p.samples * p.rows, p.channels}; }

library::Operation& forward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return forward_graph(p); });
}
library::Operation& backward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return backward_graph(p); });
}
library::Operation& sum(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return sum_graph(p); });
}
library::Operation& data(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return data_graph(p); });
}

bool takes(const P& p) { return library::has_dtype(p) && p.p == 0; }

}  // namespace

bool scale_residual_forward_cudnn_supports(const P& p) { return takes(p) && forward(p).is_supported(); }
bool scale_residual_backward_cudnn_supports(const P& p) {
  return takes(p) && sum(p).is_supported() && data(p).is_supported();
}
void scale_residual_forward_cudnn(const P& p, Ports t, Stream stream) {
  forward(p).run({t[0], t[1], t[2], t[4]}, stream);
}
void scale_residual_backward_cudnn(const P& p, Ports t, Stream stream) {
  const bool in_place = t[4].data == t[0].data || t[4].data == t[3].data;
  if (!in_place && backward(p).is_supported()) return backward(p).run({t[0], t[3], t[1], t[4], t[5]}, stream);
  sum(p).run({t[0], t[3], t[5]}, stream);
  data(p).run({t[3], t[1], t[4]}, stream);
}

}  // namespace fovea
