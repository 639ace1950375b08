// ham composed of its siblings, one pass over memory for each: what a library without the fused op does. It
// is the baseline of `fused`, and the kernel for double.
#include "kernels/cpu/buffer.hpp"
#include "kernels/ham/kernels.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/pool/pool.hpp"

namespace fovea {
namespace {

// The siblings, with this problem's shapes: images as N,HW,C, the spatial gate as N,HW,1, the channel gate as
// N,1,C.
struct Siblings {
  const HamProblem& p;
  Stream stream;

  Shape image() const { return {p.n, p.pixels(), p.c}; }
  Shape spatial() const { return {p.n, p.pixels(), 1}; }
  Shape channel() const { return {p.n, 1, p.c}; }
  Buffer make(const Shape& shape) const { return {shape, p.dtype}; }

  LinearProblem linear(std::int64_t rows, std::int64_t in, std::int64_t out, bool relu = false) const {
    return {.dtype = p.dtype, .relu = relu, .n = rows, .in = in, .out = out};
  }
  LinearProblem project() const { return linear(p.n * p.pixels(), p.c, 1); }
  LinearProblem squeeze() const { return linear(p.n, p.c, p.hidden); }
  LinearProblem excite() const { return linear(p.n, p.hidden, p.c); }

  void linear_gradients(const LinearProblem& l, const View& x, const View& w, const View& dy, const View& dx,
                        const View& dw, const View& db) const {
    const View rows = with_shape(dy, l.y_shape());
    dispatch(linear_backward_weights, l, {with_shape(x, l.x_shape()), rows, with_shape(dw, l.w_shape()), db},
             stream);
    dispatch(linear_backward_data, l, {rows, with_shape(w, l.w_shape()), with_shape(dx, l.x_shape())},
             stream);
  }
  void multiply(const View& a, const View& b, const Shape& b_shape, const View& y) const {
    dispatch(multiply_forward, {.dtype = p.dtype, .a = image(), .b = b_shape},
             {with_shape(a, image()), with_shape(b, b_shape), with_shape(y, image())}, stream);
  }
  void multiply_gradients(const View& a, const View& b, const Shape& b_shape, const View& dy, const View& da,
                          const View& db) const {
    dispatch(multiply_backward, {.dtype = p.dtype, .a = image(), .b = b_shape},
             {with_shape(a, image()), with_shape(b, b_shape), with_shape(dy, image()),
              with_shape(da, image()), with_shape(db, b_shape)},
             stream);
  }
  void add_to(const View& sum, const View& more) const {
    dispatch(add_forward, {.dtype = p.dtype, .a = image(), .b = image()},
             {with_shape(sum, image()), with_shape(more, image()), with_shape(sum, image())}, stream);
  }
  void sigmoid(const View& in_place) const {
    dispatch(sigmoid_forward, {.dtype = p.dtype, .count = in_place.numel()}, {in_place, in_place}, stream);
  }
  void sigmoid_gradient(const View& y, const View& in_place) const {
    dispatch(sigmoid_backward, {.dtype = p.dtype, .count = y.numel()}, {y, in_place, in_place}, stream);
  }
  // x S + x W into `sum`; `scratch` is overwritten.
  void gate(const View& x, const View& s, const View& wgt, const View& sum, const View& scratch) const {
    multiply(x, s, spatial(), sum);
    multiply(x, wgt, channel(), scratch);
    add_to(sum, scratch);
  }
};

GlobalPoolProblem mean(const HamProblem& p) {
  return {.dtype = p.dtype, .n = p.n, .h = p.h, .w = p.w, .c = p.c};
}

}  // namespace

void ham_forward_composed(const HamProblem& p, Ports t, Stream stream) {
  const Siblings ops{p, stream};
  const View &x = t[0], &y = t[7], &s = t[8], &a = t[9], &z = t[10], &wgt = t[11];
  const LinearProblem project = ops.project();
  dispatch(linear_forward, project,
           {with_shape(x, project.x_shape()), with_shape(t[1], project.w_shape()), t[2],
            with_shape(s, project.y_shape())},
           stream);
  ops.sigmoid(s);
  dispatch(global_avg_pool_forward, mean(p), {x, a}, stream);
  LinearProblem squeeze = ops.squeeze();
  squeeze.relu = 1;
  dispatch(linear_forward, squeeze, {a, t[3], t[4], z}, stream);
  dispatch(linear_forward, ops.excite(), {z, t[5], t[6], wgt}, stream);
  ops.sigmoid(wgt);
  Buffer scratch = ops.make(ops.image());
  if (p.scse) return ops.gate(x, s, wgt, y, scratch.view);
  Buffer u = ops.make(ops.image());
  ops.gate(x, s, wgt, u.view, scratch.view);
  ops.sigmoid(u.view);
  ops.multiply(x, u.view, ops.image(), y);
}

void ham_backward_composed(const HamProblem& p, Ports t, Stream stream) {
  const Siblings ops{p, stream};
  const View &x = t[0], &dy = t[1], &s = t[5], &a = t[6], &z = t[7], &wgt = t[8], &dx = t[9];
  Buffer more = ops.make(ops.image()), u = ops.make(ops.image()), du = ops.make(ops.image());
  Buffer ds = ops.make(ops.spatial()), dwgt = ops.make(ops.channel());
  View dgate = dy;
  if (!p.scse) {
    ops.gate(x, s, wgt, u.view, more.view);
    ops.sigmoid(u.view);
    ops.multiply_gradients(x, u.view, ops.image(), dy, dx, du.view);
    ops.sigmoid_gradient(u.view, du.view);
    dgate = du.view;
  }
  ops.multiply_gradients(x, s, ops.spatial(), dgate, p.scse ? dx : more.view, ds.view);
  if (!p.scse) ops.add_to(dx, more.view);
  ops.multiply_gradients(x, wgt, ops.channel(), dgate, more.view, dwgt.view);
  ops.add_to(dx, more.view);

  ops.sigmoid_gradient(s, ds.view);
  ops.linear_gradients(ops.project(), x, t[2], ds.view, more.view, t[10], t[11]);
  ops.add_to(dx, more.view);

  Buffer dz = ops.make({p.n, p.hidden}), da = ops.make({p.n, p.c});
  ops.sigmoid_gradient(wgt, dwgt.view);
  ops.linear_gradients(ops.excite(), z, t[4], dwgt.view, dz.view, t[14], t[15]);
  dispatch(relu_backward, {.dtype = p.dtype, .count = z.numel()}, {z, dz.view, dz.view}, stream);
  ops.linear_gradients(ops.squeeze(), a, t[3], dz.view, da.view, t[12], t[13]);
  dispatch(global_avg_pool_backward, mean(p), {da.view, with_shape(more.view, p.x_shape())}, stream);
  ops.add_to(dx, more.view);
}

}  // namespace fovea
