// batch_norm by cuDNN's graph API, in f32 and bf16. Training is its normalisation with the ReLU behind it; inference is
// one pass of its pointwise engine. Backward: its own without a ReLU. With one, whose mask is computed again from x, it is
// either its own behind the mask, which its engines take where z comes from its own normalisation, or a pass of two sums and
// a pass that writes dx, as for constant statistics: whichever took less time.
#include <bit>

#include "kernels/cuda/library.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea {
namespace {

using P = BatchNormProblem;

GraphShape rows_of(const P& p) { return {p.rows, p.channels, 1, 1}; }

void inputs(GraphSpec& g, const P& p, std::initializer_list<const char*> names) {
  for (const char* name : names) g.input(name, param_dtype(p.dtype), per_channel(p.channels));
}
void outputs(GraphSpec& g, const P& p, std::initializer_list<const char*> names) {
  for (const char* name : names) g.output(name, param_dtype(p.dtype), per_channel(p.channels));
}

GraphSpec training_graph(const P& p) {
  GraphSpec g(batch_norm_forward_training.name, batch_norm_forward_training.cost(&p));
  g.input("x", p.dtype, rows_of(p));
  inputs(g, p, {"gamma", "beta", "running_mean", "running_var"});
  g.constant("eps", p.eps);
  g.constant("momentum", p.momentum);
  g.node(GraphOp::norm_training, {"x", "gamma", "beta", "running_mean", "running_var", "eps", "momentum"},
         {p.relu ? "z" : "y", "mean", "invstd", "next_mean", "next_var"});
  if (p.relu) g.pointwise(GraphOp::relu, {"z"}, "y");
  g.output("y", p.dtype, rows_of(p));
  outputs(g, p, {"mean", "invstd", "next_mean", "next_var"});
  return g;
}

// h = (x - mean) invstd and z = h gamma + beta, where invstd is given or comes from the variance.
void normalise(GraphSpec& g, const P& p, bool from_variance) {
  if (from_variance) {
    g.constant("eps", p.eps);
    g.pointwise(GraphOp::add, {"var", "eps"}, "spread");
    g.pointwise(GraphOp::inverse_root, {"spread"}, "invstd");
  }
  g.pointwise(GraphOp::subtract, {"x", "mean"}, "centred");
  g.pointwise(GraphOp::multiply, {"centred", "invstd"}, "h");
  g.pointwise(GraphOp::multiply, {"h", "gamma"}, "scaled");
}

GraphSpec inference_graph(const P& p) {
  GraphSpec g(batch_norm_forward_inference.name, batch_norm_forward_inference.cost(&p));
  g.input("x", p.dtype, rows_of(p));
  inputs(g, p, {"gamma", "beta", "mean", "var"});
  normalise(g, p, true);
  g.pointwise(GraphOp::add, {"scaled", "beta"}, p.relu ? "z" : "y");
  if (p.relu) g.pointwise(GraphOp::relu, {"z"}, "y");
  g.output("y", p.dtype, rows_of(p));
  return g;
}

GraphSpec backward_graph(const P& p) {
  GraphSpec g(batch_norm_backward.name, batch_norm_backward.cost(&p));
  g.input("dy", p.dtype, rows_of(p));
  g.input("x", p.dtype, rows_of(p));
  inputs(g, p, {"gamma", "mean", "invstd"});
  g.node(GraphOp::norm_backward, {"dy", "x", "gamma", "mean", "invstd"}, {"dx", "dgamma", "dbeta"});
  g.output("dx", p.dtype, rows_of(p));
  outputs(g, p, {"dgamma", "dbeta"});
  return g;
}

// What the mask lets through is dy or 0, so it loses nothing in dy's own type, in which the engines want it.
GraphSpec masked_backward_graph(const P& p) {
  GraphSpec g(batch_norm_backward.name, batch_norm_backward.cost(&p));
  g.input("dy", p.dtype, rows_of(p));
  g.input("x", p.dtype, rows_of(p));
  inputs(g, p, {"gamma", "beta", "mean", "invstd"});
  g.node(GraphOp::norm_inference, {"x", "mean", "invstd", "gamma", "beta"}, {"z"});
  g.pointwise(GraphOp::relu_backward, {"dy", "z"}, "g");
  g.inner("g", rows_of(p), p.dtype);
  g.node(GraphOp::norm_backward, {"g", "x", "gamma", "mean", "invstd"}, {"dx", "dgamma", "dbeta"});
  g.output("dx", p.dtype, rows_of(p));
  outputs(g, p, {"dgamma", "dbeta"});
  return g;
}

const char* name_of_backward(bool constant) {
  return constant ? batch_norm_backward_inference.name : batch_norm_backward.name;
}

// The inputs of the two passes, and g, which is dy where the ReLU lets it through.
const char* masked(GraphSpec& g, const P& p, bool constant) {
  g.input("x", p.dtype, rows_of(p));
  g.input("dy", p.dtype, rows_of(p));
  inputs(g, p, {"gamma", "beta", "mean", constant ? "var" : "invstd"});
  normalise(g, p, constant);
  if (!p.relu) return "dy";
  g.pointwise(GraphOp::add, {"scaled", "beta"}, "z");
  g.pointwise(GraphOp::relu_backward, {"dy", "z"}, "g");
  return "g";
}

GraphSpec sums_graph(const P& p, bool constant) {
  GraphSpec g(name_of_backward(constant),
              (constant ? batch_norm_backward_inference : batch_norm_backward).cost(&p));
  const char* through = masked(g, p, constant);
  g.pointwise(GraphOp::multiply, {through, "h"}, "gh");
  g.node(GraphOp::sum, {"gh"}, {"dgamma"});
  g.node(GraphOp::sum, {through}, {"dbeta"});
  outputs(g, p, {"dgamma", "dbeta"});
  return g;
}

// dx = gamma invstd (g - (dbeta + h dgamma) / R), or gamma invstd g.
GraphSpec data_graph(const P& p, bool constant) {
  GraphSpec g(name_of_backward(constant), {});
  const char* through = masked(g, p, constant);
  const char* inside = through;
  if (!constant) {
    inputs(g, p, {"dgamma", "dbeta"});
    g.constant("share", 1.0 / static_cast<double>(p.rows));
    g.pointwise(GraphOp::multiply, {"h", "dgamma"}, "a");
    g.pointwise(GraphOp::add, {"a", "dbeta"}, "b");
    g.pointwise(GraphOp::multiply, {"b", "share"}, "c");
    g.pointwise(GraphOp::subtract, {through, "c"}, "inside");
    inside = "inside";
  }
  g.pointwise(GraphOp::multiply, {inside, "invstd"}, "d");
  g.pointwise(GraphOp::multiply, {"d", "gamma"}, "dx");
  g.output("dx", p.dtype, rows_of(p));
  return g;
}

using Key = std::array<std::int64_t, 7>;
Key key_of(const P& p, bool constant = false) {
  return {static_cast<std::int64_t>(p.dtype),
          p.relu,
          p.rows,
          p.channels,
          std::bit_cast<std::int64_t>(p.eps),
          std::bit_cast<std::int64_t>(p.momentum),
          constant};
}
using Memo = library::Memo<7>;

library::Operation& training(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return training_graph(p); });
}
library::Operation& inference(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return inference_graph(p); });
}
library::Operation& backward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return backward_graph(p); });
}
library::Operation& masked_backward(const P& p) {
  static Memo memo;
  return memo.get(key_of(p), [&] { return masked_backward_graph(p); });
}
library::Operation& sums(const P& p, bool constant) {
  static Memo memo;
  return memo.get(key_of(p, constant), [&] { return sums_graph(p, constant); });
}
library::Operation& data(const P& p, bool constant) {
  static Memo memo;
  return memo.get(key_of(p, constant), [&] { return data_graph(p, constant); });
}

// dx may be dy, which both passes read element by element before it is written.
void two_passes(const P& p, Ports t, bool constant, Stream stream) {
  sums(p, constant).run({t[0], t[1], t[2], t[3], t[4], t[5], t[7], t[8]}, stream);
  if (constant) return data(p, true).run({t[0], t[1], t[2], t[3], t[4], t[5], t[6]}, stream);
  data(p, false).run({t[0], t[1], t[2], t[3], t[4], t[5], t[7], t[8], t[6]}, stream);
}

bool masked_is_faster(const P& p, Ports t, Stream stream) {
  using library::call;
  return library::is_faster(call(masked_backward(p), {t[1], t[0], t[2], t[3], t[4], t[5], t[6], t[7], t[8]}),
                            {call(sums(p, false), {t[0], t[1], t[2], t[3], t[4], t[5], t[7], t[8]}),
                             call(data(p, false), {t[0], t[1], t[2], t[3], t[4], t[5], t[7], t[8], t[6]})},
                            stream);
}

bool takes(const P& p) { return library::has_dtype(p) && !p.has_slices() && p.accumulate == 0; }

}  // namespace

bool batch_norm_forward_training_cudnn_supports(const P& p) { return takes(p) && training(p).is_supported(); }
bool batch_norm_forward_inference_cudnn_supports(const P& p) {
  return takes(p) && inference(p).is_supported();
}
bool batch_norm_backward_cudnn_supports(const P& p) {
  if (!takes(p)) return false;
  const bool passes = sums(p, false).is_supported() && data(p, false).is_supported();
  return passes && (p.relu || backward(p).is_supported());
}
bool batch_norm_backward_inference_cudnn_supports(const P& p) {
  return takes(p) && sums(p, true).is_supported() && data(p, true).is_supported();
}

void batch_norm_forward_training_cudnn(const P& p, Ports t, Stream stream) {
  // Each channel's running statistics are read before they are written, in place.
  training(p).run({t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[3], t[4]}, stream);
}
void batch_norm_forward_inference_cudnn(const P& p, Ports t, Stream stream) {
  inference(p).run({t[0], t[1], t[2], t[3], t[4], t[5]}, stream);
}
void batch_norm_backward_cudnn(const P& p, Ports t, Stream stream) {
  const bool in_place = t[6].data == t[1].data;  // which cuDNN's own does not promise
  if (p.relu && !in_place && masked_is_faster(p, t, stream))
    return masked_backward(p).run({t[1], t[0], t[2], t[3], t[4], t[5], t[6], t[7], t[8]}, stream);
  if (p.relu || in_place) return two_passes(p, t, false, stream);
  backward(p).run({t[1], t[0], t[2], t[4], t[5], t[6], t[7], t[8]}, stream);
}
void batch_norm_backward_inference_cudnn(const P& p, Ports t, Stream stream) {
  two_passes(p, t, true, stream);
}

}  // namespace fovea
