// mlrm composed of its siblings: conv2d, batch_norm with its ReLU in the same pass, add. On the CPU the
// convolutions take all but a few percent of the time, so this is the kernel that runs; `folded` puts the
// normalisation of inference into the filters instead:
//
//   bn(conv(x, w)) = conv(x, w gamma invstd) + (beta - mean gamma invstd)
//
// with bias and ReLU in the convolution's epilogue.
#include <cmath>

#include "kernels/conv2d/conv2d.hpp"
#include "kernels/cpu/buffer.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/mlrm/kernels.hpp"
#include "kernels/mlrm/mlrm_siblings.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pointwise/pointwise.hpp"

namespace fovea {
namespace {

Buffer image(const MlrmProblem& p) { return {p.x_shape(), p.dtype}; }

Conv2dProblem convolution(const MlrmProblem& p, std::int64_t branch) {
  return mlrm_convolution<Conv2dProblem>(p, branch);
}
BatchNormProblem normalisation(const MlrmProblem& p) { return mlrm_normalisation<BatchNormProblem>(p); }

void add(const MlrmProblem& p, const View& a, const View& b, const View& sum, Stream stream) {
  dispatch(add_forward, {.dtype = p.dtype, .a = p.x_shape(), .b = p.x_shape()}, {a, b, sum}, stream);
}

// y = x + the branches, each of which `run(branch, output)` writes.
template <class F>
void sum_branches(const MlrmProblem& p, Ports ports, Stream stream, F&& run) {
  const View& y = mlrm_forward_y(p, ports);
  Buffer out = image(p);
  for (std::int64_t b = 0; b < p.branches; ++b) {
    run(b, out.view);
    add(p, b == 0 ? ports[0] : y, out.view, y, stream);
  }
}

// dw, dgamma and dbeta of every branch and dx, where `normalise(branch, dz)` writes dz, dgamma and dbeta.
template <class F>
void backward_branches(const MlrmProblem& p, Ports ports, std::size_t per_branch, Stream stream,
                       F&& normalise) {
  const View& dx = mlrm_backward_dx(p, ports, per_branch);
  Buffer dz = image(p), branch_dx = image(p);
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const View& dw = mlrm_backward_out(p, ports, per_branch, b)[0];
    normalise(b, dz.view);
    if (dw) {
      dispatch(conv2d_backward_weights, convolution(p, b), {ports[0], dz.view, dw, View{}}, stream);
    }
    if (!dx) continue;
    dispatch(conv2d_backward_data, convolution(p, b),
             {dz.view, mlrm_backward_in(ports, per_branch, b)[0], branch_dx.view}, stream);
    add(p, b == 0 ? ports[1] : dx, branch_dx.view, dx, stream);
  }
}

template <class T>
void fold(const MlrmProblem& p, Ports branch, T* w, T* bias) {
  const T *plain = branch[0].as<T>(), *gamma = branch[1].as<T>(), *beta = branch[2].as<T>(),
          *mean = branch[3].as<T>(), *var = branch[4].as<T>();
  const std::int64_t per_filter = 9 * p.c;
  parallel_for(p.c, [&](std::int64_t k) {
    const double scale = double(gamma[k]) / std::sqrt(double(var[k]) + p.eps);
    const T factor = static_cast<T>(scale);
    bias[k] = static_cast<T>(double(beta[k]) - double(mean[k]) * scale);
#pragma omp simd
    for (std::int64_t i = 0; i < per_filter; ++i) w[k * per_filter + i] = plain[k * per_filter + i] * factor;
  });
}

}  // namespace

void mlrm_forward_training_composed(const MlrmProblem& p, Ports ports, Stream stream) {
  sum_branches(p, ports, stream, [&](std::int64_t b, const View& y) {
    const Ports in = mlrm_forward_in(ports, b), out = mlrm_forward_out(p, ports, b);
    dispatch(conv2d_forward, convolution(p, b), {ports[0], in[0], View{}, out[0]}, stream);
    dispatch(batch_norm_forward_training, normalisation(p),
             {mlrm_rows(p, out[0]), in[1], in[2], in[3], in[4], mlrm_rows(p, y), out[1], out[2]}, stream);
  });
}

void mlrm_forward_inference_composed(const MlrmProblem& p, Ports ports, Stream stream) {
  Buffer z = image(p);
  sum_branches(p, ports, stream, [&](std::int64_t b, const View& y) {
    const Ports in = mlrm_forward_in(ports, b);
    dispatch(conv2d_forward, convolution(p, b), {ports[0], in[0], View{}, z.view}, stream);
    dispatch(batch_norm_forward_inference, normalisation(p),
             {mlrm_rows(p, z.view), in[1], in[2], in[3], in[4], mlrm_rows(p, y)}, stream);
  });
}

void mlrm_forward_inference_folded(const MlrmProblem& p, Ports ports, Stream stream) {
  Buffer w(p.w_shape(), p.dtype), bias({p.c}, p.dtype);
  sum_branches(p, ports, stream, [&](std::int64_t b, const View& y) {
    visit_float(p.dtype, [&](auto zero) {
      using T = decltype(zero);
      fold(p, mlrm_forward_in(ports, b), w.view.as<T>(), bias.view.as<T>());
    });
    Conv2dProblem conv = convolution(p, b);
    conv.relu = 1;
    dispatch(conv2d_forward, conv, {ports[0], w.view, bias.view, y}, stream);
  });
}

void mlrm_backward_composed(const MlrmProblem& p, Ports ports, Stream stream) {
  backward_branches(p, ports, 6, stream, [&](std::int64_t b, const View& dz) {
    const Ports in = mlrm_backward_in(ports, 6, b), out = mlrm_backward_out(p, ports, 6, b);
    dispatch(batch_norm_backward, normalisation(p),
             {mlrm_rows(p, in[3]), mlrm_rows(p, ports[1]), in[1], in[2], in[4], in[5], mlrm_rows(p, dz),
              out[1], out[2]},
             stream);
  });
}

void mlrm_backward_inference_composed(const MlrmProblem& p, Ports ports, Stream stream) {
  Buffer z = image(p);
  backward_branches(p, ports, 5, stream, [&](std::int64_t b, const View& dz) {
    const Ports in = mlrm_backward_in(ports, 5, b), out = mlrm_backward_out(p, ports, 5, b);
    dispatch(conv2d_forward, convolution(p, b), {ports[0], in[0], View{}, z.view}, stream);
    dispatch(batch_norm_backward_inference, normalisation(p),
             {mlrm_rows(p, z.view), mlrm_rows(p, ports[1]), in[1], in[2], in[3], in[4], mlrm_rows(p, dz),
              out[1], out[2]},
             stream);
  });
}

}  // namespace fovea
