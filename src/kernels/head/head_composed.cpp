// head composed of its siblings: global average pooling, linear, add. Its tensors are small next to the rest
// of a step, so this is the kernel that runs.
#include "kernels/cpu/buffer.hpp"
#include "kernels/head/kernels.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/pool/pool.hpp"

namespace fovea {
namespace {

GlobalPoolProblem pool(const HeadProblem& p, std::int64_t h, std::int64_t w) {
  return {.dtype = p.dtype, .n = p.n, .h = h, .w = w, .c = p.c};
}

LinearProblem layer(const HeadProblem& p, std::int64_t in, std::int64_t out, bool relu = false) {
  return {.dtype = p.dtype, .relu = relu, .n = p.n, .in = in, .out = out};
}

}  // namespace

void head_forward_composed(const HeadProblem& p, Ports t, Stream stream) {
  const View &logits = t[8], &pooled = t[9], &f = t[10], &hid = t[11];
  Buffer m_mean({p.n, p.c}, p.dtype);
  dispatch(global_avg_pool_forward, pool(p, p.m_h, p.m_w), {t[0], m_mean.view}, stream);
  dispatch(global_avg_pool_forward, pool(p, p.r_h, p.r_w), {t[1], pooled}, stream);
  dispatch(linear_forward, layer(p, p.c, p.c), {pooled, t[2], t[3], f}, stream);
  dispatch(add_forward, {.dtype = p.dtype, .a = f.shape, .b = f.shape}, {f, m_mean.view, f}, stream);
  dispatch(linear_forward, layer(p, p.c, p.hidden, true), {f, t[4], t[5], hid}, stream);
  dispatch(linear_forward, layer(p, p.hidden, p.classes), {hid, t[6], t[7], logits}, stream);
}

void head_backward_composed(const HeadProblem& p, Ports t, Stream stream) {
  const View &dlogits = t[0], &pooled = t[4], &f = t[5], &hid = t[6], &dm = t[7], &dr = t[8];
  Buffer dhid({p.n, p.hidden}, p.dtype), df({p.n, p.c}, p.dtype), dpooled({p.n, p.c}, p.dtype);

  const LinearProblem fc2 = layer(p, p.hidden, p.classes);
  dispatch(linear_backward_weights, fc2, {hid, dlogits, t[13], t[14]}, stream);
  dispatch(linear_backward_data, fc2, {dlogits, t[3], dhid.view}, stream);
  dispatch(relu_backward, {.dtype = p.dtype, .count = hid.numel()}, {hid, dhid.view, dhid.view}, stream);

  const LinearProblem fc1 = layer(p, p.c, p.hidden);
  dispatch(linear_backward_weights, fc1, {f, dhid.view, t[11], t[12]}, stream);
  dispatch(linear_backward_data, fc1, {dhid.view, t[2], df.view}, stream);
  if (dm) dispatch(global_avg_pool_backward, pool(p, p.m_h, p.m_w), {df.view, dm}, stream);

  const LinearProblem shortcut = layer(p, p.c, p.c);
  dispatch(linear_backward_weights, shortcut, {pooled, df.view, t[9], t[10]}, stream);
  if (!dr) return;
  dispatch(linear_backward_data, shortcut, {df.view, t[1], dpooled.view}, stream);
  dispatch(global_avg_pool_backward, pool(p, p.r_h, p.r_w), {dpooled.view, dr}, stream);
}

}  // namespace fovea
