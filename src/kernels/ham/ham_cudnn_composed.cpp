// ham composed of what libraries have, in the form that moves least: the baseline of the hand-written kernels. cuDNN's
// pointwise engine gates in one pass, cublasLt does the layers with bias and ReLU in their epilogues; T is one pass over
// the tensor.
//
//   forward   s = sum x w (T), sigmoid; a = mean x (T); z, wgt; y = x sigmoid(x s + x wgt) (2T):          4T
//   backward  q = du x (3T), of which ds is the sum over channels (T) and dwgt over pixels (T); the sum of x ds (T);
//             dx in one pass (3T):                                                                         9T
//
// A value for each pixel and one for each channel of an image meet only in three dimensions (matrices()). No engine of cuDNN
// 9.19 sums there, or over the pixels of each image, or goes on after a sum (tests/cudnn_test.cpp asks it), so q passes
// through memory, and the means are its pooling.
#include "kernels/cpu/buffer.hpp"
#include "kernels/cuda/common_graphs.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/ham/kernels.hpp"
#include "kernels/linear/kernels.hpp"

namespace fovea {
namespace {

using P = HamProblem;

GraphShape image(const P& p) { return {p.n, p.c, p.h, p.w}; }
GraphShape spatial(const P& p) { return {p.n, 1, p.h, p.w}; }
GraphShape all_pixels(const P& p) { return per_channel(p.n * p.pixels()); }
GraphShape channels(const P& p) { return {p.n, p.c, 1, 1}; }
GraphShape image3(const P& p) { return matrices(p.n, p.pixels(), p.c); }
GraphShape spatial3(const P& p) { return matrices(p.n, p.pixels(), 1); }
GraphShape channels3(const P& p) { return matrices(p.n, 1, p.c); }

constexpr Dtype f32 = Dtype::f32;

GraphSpec project_graph(const P& p) {
  GraphSpec g(ham_forward.name, ham_forward.cost(&p));
  g.input("x", p.dtype, image(p));
  g.input("w", f32, per_channel(p.c));
  g.pointwise(GraphOp::multiply, {"x", "w"}, "t");
  g.node(GraphOp::sum, {"t"}, {"s"});
  g.output("s", f32, spatial(p));
  return g;
}

GraphSpec spatial_gate_graph(const P& p) {
  GraphSpec g(ham_forward.name, {});
  g.input("t", f32, all_pixels(p));
  g.input("b", f32, per_channel(1));
  g.pointwise(GraphOp::add, {"t", "b"}, "u");
  g.pointwise(GraphOp::sigmoid, {"u"}, "s");
  g.output("s", f32, all_pixels(p));
  return g;
}

GraphSpec channel_gate_graph(const P& p) {
  GraphSpec g(ham_forward.name, {});
  g.input("u", f32, channels(p));
  g.pointwise(GraphOp::sigmoid, {"u"}, "wgt");
  g.output("wgt", f32, channels(p));
  return g;
}

// u = x s + x wgt
void gate(GraphSpec& g) {
  g.pointwise(GraphOp::multiply, {"x", "s"}, "xs");
  g.pointwise(GraphOp::multiply, {"x", "wgt"}, "xw");
  g.pointwise(GraphOp::add, {"xs", "xw"}, "u");
}

GraphSpec apply_graph(const P& p) {
  GraphSpec g(ham_forward.name, {});
  g.input("x", p.dtype, image3(p));
  g.input("s", f32, spatial3(p));
  g.input("wgt", f32, channels3(p));
  if (p.scse) {
    g.pointwise(GraphOp::multiply, {"x", "s"}, "xs");
    g.pointwise(GraphOp::multiply, {"x", "wgt"}, "xw");
    g.pointwise(GraphOp::add, {"xs", "xw"}, "y");
  } else {
    gate(g);
    g.pointwise(GraphOp::sigmoid, {"u"}, "r");
    g.pointwise(GraphOp::multiply, {"x", "r"}, "y");
  }
  g.output("y", p.dtype, image3(p));
  return g;
}

// du, the gradient of the gates' sum: dy itself in scse.
const char* gate_gradient(GraphSpec& g, const P& p) {
  g.input("x", p.dtype, image3(p));
  g.input("dy", p.dtype, image3(p));
  g.input("s", f32, spatial3(p));
  g.input("wgt", f32, channels3(p));
  if (p.scse) return "dy";
  gate(g);
  g.pointwise(GraphOp::multiply, {"dy", "x"}, "dr");
  g.pointwise(GraphOp::sigmoid_backward, {"dr", "u"}, "du");
  return "du";
}

GraphSpec product_graph(const P& p) {
  GraphSpec g(ham_backward.name, ham_backward.cost(&p));
  const char* du = gate_gradient(g, p);
  g.pointwise(GraphOp::multiply, {du, "x"}, "q");
  g.output("q", p.dtype, image3(p));
  return g;
}

GraphSpec channel_sum_graph(const P& p) {
  GraphSpec g(ham_backward.name, {});
  g.input("q", p.dtype, image(p));
  g.node(GraphOp::sum, {"q"}, {"ds"});
  g.output("ds", f32, spatial(p));
  return g;
}

// d' = factor d y (1 - y), for the gates' sigmoids.
GraphSpec sigmoid_graph(const GraphShape& shape, double factor) {
  GraphSpec g(ham_backward.name, {});
  g.input("d", f32, shape);
  g.input("y", f32, shape);
  g.constant("factor", factor);
  g.pointwise(GraphOp::multiply, {"d", "factor"}, "t");
  g.pointwise(GraphOp::multiply, {"t", "y"}, "u");
  g.pointwise(GraphOp::multiply, {"u", "y"}, "v");
  g.pointwise(GraphOp::subtract, {"u", "v"}, "dx");
  g.output("dx", f32, shape);
  return g;
}

GraphSpec spatial_weight_graph(const P& p) {
  GraphSpec g(ham_backward.name, {});
  g.input("x", p.dtype, image(p));
  g.input("ds", f32, spatial(p));
  g.pointwise(GraphOp::multiply, {"x", "ds"}, "t");
  g.node(GraphOp::sum, {"t"}, {"dw"});
  g.output("dw", f32, per_channel(p.c));
  return g;
}

GraphSpec spatial_bias_graph(const P& p) {
  GraphSpec g(ham_backward.name, {});
  g.input("ds", f32, all_pixels(p));
  g.node(GraphOp::sum, {"ds"}, {"db"});
  g.output("db", f32, per_channel(1));
  return g;
}

// dx = dy r + du (s + wgt) + ds w + da / pixels. No engine multiplies a value for each pixel with one for each channel unless
// one of them is of the image's size: so w is first added to zeros made of x.
GraphSpec data_graph(const P& p) {
  GraphSpec g(ham_backward.name, {});
  const char* du = gate_gradient(g, p);
  g.input("ds", f32, spatial3(p));
  g.input("w", f32, matrices(1, 1, p.c));
  g.input("da", f32, channels3(p));
  g.constant("share", 1.0 / static_cast<double>(p.pixels()));
  g.pointwise(GraphOp::multiply, {du, "s"}, "a");
  g.pointwise(GraphOp::multiply, {du, "wgt"}, "b");
  g.pointwise(GraphOp::add, {"a", "b"}, "gates");
  const char* sum = "gates";
  if (!p.scse) {
    g.pointwise(GraphOp::sigmoid, {"u"}, "r");
    g.pointwise(GraphOp::multiply, {"dy", "r"}, "direct");
    g.pointwise(GraphOp::add, {"gates", "direct"}, "both");
    sum = "both";
  }
  g.constant("zero", 0);
  g.pointwise(GraphOp::multiply, {"x", "zero"}, "zeros");
  g.pointwise(GraphOp::add, {"zeros", "w"}, "spread");
  g.pointwise(GraphOp::multiply, {"spread", "ds"}, "projected");
  g.pointwise(GraphOp::add, {sum, "projected"}, "c");
  g.pointwise(GraphOp::multiply, {"da", "share"}, "mean");
  g.pointwise(GraphOp::add, {"c", "mean"}, "dx");
  g.output("dx", p.dtype, image3(p));
  return g;
}

using Table = library::Table<7, struct Operations>;
Table::Key key_of(const P& p) {
  return {static_cast<std::int64_t>(p.dtype), p.scse, p.n, p.h, p.w, p.c, p.hidden};
}

struct Operations {
  explicit Operations(const P& p)
      : project(project_graph(p)),
        spatial_gate(spatial_gate_graph(p)),
        mean(graphs::mean(ham_forward.name, {}, p.dtype, image(p))),
        channel_gate(channel_gate_graph(p)),
        apply(apply_graph(p)),
        product(product_graph(p)),
        channel_sum(channel_sum_graph(p)),
        mean_gradient(graphs::mean(ham_backward.name, {}, p.dtype, image(p))),
        spatial_sigmoid(sigmoid_graph(all_pixels(p), 1)),
        channel_sigmoid(sigmoid_graph(channels(p), static_cast<double>(p.pixels()))),
        spatial_weight(spatial_weight_graph(p)),
        spatial_bias(spatial_bias_graph(p)),
        relu(graphs::relu_mask(ham_backward.name, p.n, p.hidden)),
        data(data_graph(p)) {}
  library::Operation project, spatial_gate, mean, channel_gate, apply;
  library::Operation product, channel_sum, mean_gradient, spatial_sigmoid, channel_sigmoid, spatial_weight,
      spatial_bias, relu, data;
};

Operations& operations(const P& p) {
  static Table table;
  return table.get(key_of(p), [&] { return std::make_unique<Operations>(p); });
}

LinearProblem layer(const P& p, std::int64_t in, std::int64_t out, bool relu = false) {
  return {.dtype = f32, .relu = relu, .n = p.n, .in = in, .out = out};
}

void run_layer(void (*run)(const LinearProblem&, Ports, Stream), const LinearProblem& l,
               std::initializer_list<View> ports, Stream stream) {
  run(l, Ports(ports.begin(), ports.size()), stream);
}

}  // namespace

bool ham_forward_cudnn_supports(const P& p) {
  if (!library::has_dtype(p)) return false;
  Operations& o = operations(p);
  return o.project.is_supported() && o.spatial_gate.is_supported() && o.mean.is_supported() &&
         o.channel_gate.is_supported() && o.apply.is_supported() &&
         linear_forward_cublas_supports(layer(p, p.c, p.hidden, true)) &&
         linear_forward_cublas_supports(layer(p, p.hidden, p.c));
}

bool ham_backward_cudnn_supports(const P& p) {
  if (!library::has_dtype(p)) return false;
  Operations& o = operations(p);
  for (library::Operation* part :
       {&o.product, &o.channel_sum, &o.mean_gradient, &o.spatial_sigmoid, &o.channel_sigmoid,
        &o.spatial_weight, &o.spatial_bias, &o.relu, &o.data}) {
    if (!part->is_supported()) return false;
  }
  for (const LinearProblem& l : {layer(p, p.hidden, p.c), layer(p, p.c, p.hidden)}) {
    if (!linear_backward_data_cublas_supports(l) || !linear_backward_weights_cublas_supports(l)) return false;
  }
  return true;
}

void ham_forward_composed_cudnn(const P& p, Ports t, Stream stream) {
  Operations& o = operations(p);
  const View &x = t[0], &y = t[7], &s = t[8], &a = t[9], &z = t[10], &wgt = t[11];
  o.project.run({x, t[1], s}, stream);
  o.spatial_gate.run({s, t[2], s}, stream);
  o.mean.run({x, a}, stream);
  run_layer(&linear_forward_cublas, layer(p, p.c, p.hidden, true), {a, t[3], t[4], z}, stream);
  run_layer(&linear_forward_cublas, layer(p, p.hidden, p.c), {z, t[5], t[6], wgt}, stream);
  o.channel_gate.run({wgt, wgt}, stream);
  o.apply.run({x, s, wgt, y}, stream);
}

void ham_backward_composed_cudnn(const P& p, Ports t, Stream stream) {
  Operations& o = operations(p);
  const View &x = t[0], &dy = t[1], &s = t[5], &a = t[6], &z = t[7], &wgt = t[8], &dx = t[9];
  const auto make = [&](const Shape& shape, Dtype dtype) { return Buffer(shape, dtype, stream.device); };
  const Buffer q = make(p.x_shape(), p.dtype), ds = make(s.shape, f32), dwgt = make(wgt.shape, f32);
  const Buffer dz = make(z.shape, f32), da = make(a.shape, f32);
  o.product.run({x, dy, s, wgt, q.view}, stream);
  o.channel_sum.run({q.view, ds.view}, stream);
  o.mean_gradient.run({q.view, dwgt.view}, stream);
  o.spatial_sigmoid.run({ds.view, s, ds.view}, stream);
  o.spatial_weight.run({x, ds.view, t[10]}, stream);
  o.spatial_bias.run({ds.view, t[11]}, stream);
  o.channel_sigmoid.run({dwgt.view, wgt, dwgt.view}, stream);
  const LinearProblem excite = layer(p, p.hidden, p.c), squeeze = layer(p, p.c, p.hidden);
  run_layer(&linear_backward_weights_cublas, excite, {z, dwgt.view, t[14], t[15]}, stream);
  run_layer(&linear_backward_data_cublas, excite, {dwgt.view, t[4], dz.view}, stream);
  o.relu.run({dz.view, z, dz.view}, stream);
  run_layer(&linear_backward_weights_cublas, squeeze, {a, dz.view, t[12], t[13]}, stream);
  run_layer(&linear_backward_data_cublas, squeeze, {dz.view, t[3], da.view}, stream);
  o.data.run({x, dy, s, wgt, ds.view, t[2], da.view, dx}, stream);
}

void ham_forward_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(ham_forward, key_of(p), p, t, stream, &ham_forward_composed_cudnn);
}
void ham_backward_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(ham_backward, key_of(p), p, t, stream, &ham_backward_composed_cudnn);
}

}  // namespace fovea
