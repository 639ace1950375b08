// Pooling: the shape checks, the ports, the costs and the kernel tables. See pool.hpp.
#include "kernels/pool/pool.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/pool/kernels.hpp"

namespace fovea {

void PoolProblem::check() const {
  if (n < 1 || h < 1 || w < 1 || c < 1) {
    fail(fmt::format("pooling: input {}x{}x{}x{} must be at least 1 in every dimension", n, h, w, c));
  }
  if (kernel_h < 1 || kernel_w < 1 || stride_h < 1 || stride_w < 1) {
    fail(fmt::format("pooling: kernel {}x{} and stride {}x{} must be at least 1", kernel_h, kernel_w,
                     stride_h, stride_w));
  }
  if (pad_h < 0 || pad_w < 0 || pad_h > kernel_h / 2 || pad_w > kernel_w / 2) {
    fail(fmt::format("pooling: padding {}x{} must be at least 0 and at most half of the {}x{} kernel", pad_h,
                     pad_w, kernel_h, kernel_w));
  }
  if (h + 2 * pad_h < kernel_h || w + 2 * pad_w < kernel_w) {
    fail(fmt::format(
        "pooling: a {}x{} kernel is larger than the {}x{} input with padding {}x{}; use a larger image",
        kernel_h, kernel_w, h, w, pad_h, pad_w));
  }
  check_slice("pooling", y_slice, c);
}

void PoolProblem::check_max() const {
  check();
  if (kernel_h >= 256 || kernel_w >= 256 || kernel_h * kernel_w >= 256) {
    fail(fmt::format("max_pool: a {}x{} kernel has more than 255 taps, which is as many as an index can name",
                     kernel_h, kernel_w));
  }
}

void GlobalPoolProblem::check() const {
  if (n < 1 || h < 1 || w < 1 || c < 1) {
    fail(fmt::format("global_avg_pool: input {}x{}x{}x{} must be at least 1 in every dimension", n, h, w, c));
  }
}

void AdaptivePoolProblem::check() const {
  if (n < 1 || h < 1 || w < 1 || c < 1 || out_h < 1 || out_w < 1) {
    fail(fmt::format(
        "adaptive_avg_pool: input {}x{}x{}x{} and output {}x{} must be at least 1 in every dimension", n, h,
        w, c, out_h, out_w));
  }
}

namespace {

using P = PoolProblem;
using G = GlobalPoolProblem;
using V = AdaptivePoolProblem;

PortSpec y_port(const P& p) {
  return {"y", p.y_slice.is_whole() ? Role::output : Role::update, p.y_slice.shape_of(p.y_shape()), p.dtype};
}

PortList max_forward_ports(const P& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype},
          y_port(p),
          {"indices", Role::output, p.indices_shape(), Dtype::u8, true}};
}
PortList max_backward_ports(const P& p) {
  return {{"indices", Role::input, p.indices_shape(), Dtype::u8},
          {"dy", Role::input, p.y_shape(), p.dtype},
          {"dx", Role::output, p.x_shape(), p.dtype}};
}
PortList avg_forward_ports(const P& p) { return {{"x", Role::input, p.x_shape(), p.dtype}, y_port(p)}; }
template <class Problem>
PortList forward_ports(const Problem& p) {
  return {{"x", Role::input, p.x_shape(), p.dtype}, {"y", Role::output, p.y_shape(), p.dtype}};
}
template <class Problem>
PortList backward_ports(const Problem& p) {
  return {{"dy", Role::input, p.y_shape(), p.dtype}, {"dx", Role::output, p.x_shape(), p.dtype}};
}

// One operation per tap. Of an image that holds y, y alone is moved.
template <auto PortsOf>
Cost cost(P p) {
  p.y_slice = {};
  return {static_cast<double>(p.y_shape().numel() * p.kernel_h * p.kernel_w), bytes_of(PortsOf(p))};
}
template <auto PortsOf>
Cost global_cost(const G& p) {
  return {static_cast<double>(p.x_shape().numel()), bytes_of(PortsOf(p))};
}

template <auto PortsOf>
Cost adaptive_cost(const V& p) {
  return {static_cast<double>(std::max(p.x_shape().numel(), p.y_shape().numel())), bytes_of(PortsOf(p))};
}

template <auto PortsOf>
constexpr PrimitiveOf<P> max_pool_primitive(const char* name, std::span<const Kernel> kernels) {
  PrimitiveOf<P> made = primitive<P, PortsOf, &cost<PortsOf>>(name, kernels);
  made.check = [](const void* problem) { static_cast<const P*>(problem)->check_max(); };
  return made;
}

// oneDNN's maximum passes over NaN and turns a window of -inf into the lowest float, so it has no row here. Neither has
// cuDNN: its indices are bytes of another meaning, its backward reads x and y in place of ours, and cudnn_frontend has no
// node for the backward of any pooling. A row for inference alone, where nobody wants indices, cannot be told apart: whether
// that port is there is no part of the problem.
constexpr Kernel max_forward_kernels[] = {
    FOVEA_CUDA_ROW("vector", max_pool_forward_vector, supports_pool_vector),
    kernel<&max_pool_forward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&max_pool_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", max_pool_forward_vector, supports_pool_vector),
};
constexpr Kernel max_backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", max_pool_backward_vector, supports_pool_vector),
    kernel<&max_pool_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&max_pool_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", max_pool_backward_vector, supports_pool_vector),
};
constexpr Kernel avg_forward_kernels[] = {
    FOVEA_CUDA_ROW("vector", avg_pool_forward_vector, supports_pool_vector),
#if FOVEA_CUDNN
    kernel<&avg_pool_forward_cudnn, &avg_pool_forward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&avg_pool_forward_onednn, &avg_pool_forward_onednn_supports>("onednn", Backend::onednn),
    kernel<&avg_pool_forward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&avg_pool_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", avg_pool_forward_vector, supports_pool_vector),
};
constexpr Kernel avg_backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", avg_pool_backward_vector, supports_pool_vector),
    kernel<&avg_pool_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&avg_pool_backward_onednn, &avg_pool_backward_onednn_supports>("onednn", Backend::onednn),
    kernel<&avg_pool_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", avg_pool_backward_vector, supports_pool_vector),
};
constexpr Kernel adaptive_forward_kernels[] = {
    FOVEA_CUDA_ROW("vector", adaptive_avg_pool_forward_vector, supports_adaptive_avg_pool_vector),
    kernel<&adaptive_avg_pool_forward_cpu, &supports_f32_f64<V>>("cpu", Backend::cpu),
    kernel<&adaptive_avg_pool_forward_reference, &supports_f32_f64<V>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", adaptive_avg_pool_forward_vector, supports_adaptive_avg_pool_vector),
};
constexpr Kernel adaptive_backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", adaptive_avg_pool_backward_vector, supports_adaptive_avg_pool_vector),
    kernel<&adaptive_avg_pool_backward_cpu, &supports_f32_f64<V>>("cpu", Backend::cpu),
    kernel<&adaptive_avg_pool_backward_reference, &supports_f32_f64<V>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", adaptive_avg_pool_backward_vector, supports_adaptive_avg_pool_vector),
};
constexpr Kernel global_forward_kernels[] = {
    FOVEA_CUDA_ROW("columns", global_avg_pool_forward_columns, supports_global_avg_pool_columns),
#if FOVEA_CUDNN
    kernel<&global_avg_pool_forward_cudnn, &global_avg_pool_forward_cudnn_supports>("cudnn", Backend::cudnn),
#endif
    kernel<&global_avg_pool_forward_cpu, &supports_f32_f64<G>>("cpu", Backend::cpu),
    kernel<&global_avg_pool_forward_onednn, &supports_f32<G>>("onednn", Backend::onednn),
    kernel<&global_avg_pool_forward_reference, &supports_f32_f64<G>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", global_avg_pool_forward_columns, supports_global_avg_pool_columns),
};
constexpr Kernel global_backward_kernels[] = {
    FOVEA_CUDA_ROW("columns", global_avg_pool_backward_columns, supports_global_avg_pool_columns),
    kernel<&global_avg_pool_backward_cpu, &supports_f32_f64<G>>("cpu", Backend::cpu),
    kernel<&global_avg_pool_backward_onednn, &supports_f32<G>>("onednn", Backend::onednn),
    kernel<&global_avg_pool_backward_reference, &supports_f32_f64<G>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("columns", global_avg_pool_backward_columns, supports_global_avg_pool_columns),
};

}  // namespace

constexpr PrimitiveOf<P> max_pool_forward =
    max_pool_primitive<&max_forward_ports>("max_pool.forward", max_forward_kernels);
constexpr PrimitiveOf<P> max_pool_backward =
    max_pool_primitive<&max_backward_ports>("max_pool.backward", max_backward_kernels);
constexpr PrimitiveOf<P> avg_pool_forward =
    primitive<P, &avg_forward_ports, &cost<&avg_forward_ports>>("avg_pool.forward", avg_forward_kernels);
constexpr PrimitiveOf<P> avg_pool_backward =
    primitive<P, &backward_ports<P>, &cost<&backward_ports<P>>>("avg_pool.backward", avg_backward_kernels);
constexpr PrimitiveOf<V> adaptive_avg_pool_forward =
    primitive<V, &forward_ports<V>, &adaptive_cost<&forward_ports<V>>>("adaptive_avg_pool.forward",
                                                                       adaptive_forward_kernels);
constexpr PrimitiveOf<V> adaptive_avg_pool_backward =
    primitive<V, &backward_ports<V>, &adaptive_cost<&backward_ports<V>>>("adaptive_avg_pool.backward",
                                                                         adaptive_backward_kernels);
constexpr PrimitiveOf<G> global_avg_pool_forward =
    primitive<G, &forward_ports<G>, &global_cost<&forward_ports<G>>>("global_avg_pool.forward",
                                                                     global_forward_kernels);
constexpr PrimitiveOf<G> global_avg_pool_backward =
    primitive<G, &backward_ports<G>, &global_cost<&backward_ports<G>>>("global_avg_pool.backward",
                                                                       global_backward_kernels);

}  // namespace fovea
