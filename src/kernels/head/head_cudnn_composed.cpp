// head composed of what libraries have: means as cuDNN's pooling of a whole image, the layers by cublasLt in f32 with bias
// and ReLU in their epilogues, and in backward one pass for each image gradient, which writes the same value to all pixels.
#include <memory>

#include "kernels/cpu/buffer.hpp"
#include "kernels/cuda/common_graphs.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/head/kernels.hpp"
#include "kernels/linear/kernels.hpp"

namespace fovea {
namespace {

using P = HeadProblem;
constexpr Dtype f32 = Dtype::f32;

GraphSpec mean_graph(const P& p, std::int64_t h, std::int64_t w) {
  return graphs::mean(head_forward.name, head_forward.cost(&p), p.dtype, {p.n, p.c, h, w});
}

GraphSpec add_graph(const P& p) {
  GraphSpec g(head_forward.name, {});
  for (const char* name : {"a", "b"}) g.input(name, f32, {p.n, p.c, 1, 1});
  g.pointwise(GraphOp::add, {"a", "b"}, "f");
  g.output("f", f32, {p.n, p.c, 1, 1});
  return g;
}

GraphSpec spread_graph(const P& p, std::int64_t pixels) {
  GraphSpec g(head_backward.name, head_backward.cost(&p));
  g.input("da", f32, matrices(p.n, 1, p.c));
  g.constant("share", 1.0 / static_cast<double>(pixels));
  g.pointwise(GraphOp::multiply, {"da", "share"}, "dx");
  g.output("dx", p.dtype, matrices(p.n, pixels, p.c));
  return g;
}

struct Operations {
  explicit Operations(const P& p)
      : m_mean(mean_graph(p, p.m_h, p.m_w)),
        r_mean(mean_graph(p, p.r_h, p.r_w)),
        add(add_graph(p)),
        relu(graphs::relu_mask(head_backward.name, p.n, p.hidden)),
        m_spread(spread_graph(p, p.m_h * p.m_w)),
        r_spread(spread_graph(p, p.r_h * p.r_w)) {}
  library::Operation m_mean, r_mean, add, relu, m_spread, r_spread;
};

using Table = library::Table<9, Operations>;
Table::Key key_of(const P& p) {
  return {static_cast<std::int64_t>(p.dtype), p.n, p.c, p.m_h, p.m_w, p.r_h, p.r_w, p.hidden, p.classes};
}

Operations& operations(const P& p) {
  static Table table;
  return table.get(key_of(p), [&] { return std::make_unique<Operations>(p); });
}

LinearProblem layer(const P& p, std::int64_t in, std::int64_t out, bool relu = false) {
  return {.dtype = f32, .relu = relu, .n = p.n, .in = in, .out = out};
}

void run(void (*kernel)(const LinearProblem&, Ports, Stream), const LinearProblem& l,
         std::initializer_list<View> ports, Stream stream) {
  kernel(l, Ports(ports.begin(), ports.size()), stream);
}

}  // namespace

bool head_forward_cudnn_supports(const P& p) {
  if (!library::has_dtype(p)) return false;
  Operations& o = operations(p);
  return o.m_mean.is_supported() && o.r_mean.is_supported() && o.add.is_supported() &&
         linear_forward_cublas_supports(layer(p, p.c, p.c)) &&
         linear_forward_cublas_supports(layer(p, p.c, p.hidden, true)) &&
         linear_forward_cublas_supports(layer(p, p.hidden, p.classes));
}

bool head_backward_cudnn_supports(const P& p) {
  if (!library::has_dtype(p)) return false;
  Operations& o = operations(p);
  for (const LinearProblem& l :
       {layer(p, p.c, p.c), layer(p, p.c, p.hidden), layer(p, p.hidden, p.classes)}) {
    if (!linear_backward_data_cublas_supports(l) || !linear_backward_weights_cublas_supports(l)) return false;
  }
  return o.relu.is_supported() && o.m_spread.is_supported() && o.r_spread.is_supported();
}

void head_forward_composed_cudnn(const P& p, Ports t, Stream stream) {
  Operations& o = operations(p);
  const View &logits = t[8], &pooled = t[9], &f = t[10], &hid = t[11];
  const Buffer m_mean({p.n, p.c}, f32, stream.device);
  o.m_mean.run({t[0], m_mean.view}, stream);
  o.r_mean.run({t[1], pooled}, stream);
  run(&linear_forward_cublas, layer(p, p.c, p.c), {pooled, t[2], t[3], f}, stream);
  o.add.run({f, m_mean.view, f}, stream);
  run(&linear_forward_cublas, layer(p, p.c, p.hidden, true), {f, t[4], t[5], hid}, stream);
  run(&linear_forward_cublas, layer(p, p.hidden, p.classes), {hid, t[6], t[7], logits}, stream);
}

void head_backward_composed_cudnn(const P& p, Ports t, Stream stream) {
  Operations& o = operations(p);
  const View &dlogits = t[0], &pooled = t[4], &f = t[5], &hid = t[6], &dm = t[7], &dr = t[8];
  const Buffer dhid({p.n, p.hidden}, f32, stream.device), df({p.n, p.c}, f32, stream.device),
      dpooled({p.n, p.c}, f32, stream.device);
  const LinearProblem fc2 = layer(p, p.hidden, p.classes), fc1 = layer(p, p.c, p.hidden),
                      shortcut = layer(p, p.c, p.c);
  run(&linear_backward_weights_cublas, fc2, {hid, dlogits, t[13], t[14]}, stream);
  run(&linear_backward_data_cublas, fc2, {dlogits, t[3], dhid.view}, stream);
  o.relu.run({dhid.view, hid, dhid.view}, stream);
  run(&linear_backward_weights_cublas, fc1, {f, dhid.view, t[11], t[12]}, stream);
  run(&linear_backward_data_cublas, fc1, {dhid.view, t[2], df.view}, stream);
  if (dm) o.m_spread.run({df.view, dm}, stream);
  run(&linear_backward_weights_cublas, shortcut, {pooled, df.view, t[9], t[10]}, stream);
  if (!dr) return;
  run(&linear_backward_data_cublas, shortcut, {df.view, t[1], dpooled.view}, stream);
  o.r_spread.run({dpooled.view, dr}, stream);
}

void head_forward_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(head_forward, key_of(p), p, t, stream, &head_forward_composed_cudnn);
}
void head_backward_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(head_backward, key_of(p), p, t, stream, &head_backward_composed_cudnn);
}

}  // namespace fovea
