// The kernels of pooling, for its tables, and the window arithmetic they share.
#pragma once

#include <algorithm>

#include "kernels/pool/pool.hpp"

namespace fovea {

/// [begin, end) of taps, or of windows, along one axis.
struct PoolRange {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

/// The taps of window `out` that lie inside an axis of `in` elements; tap t is element out * stride - pad +
/// t. Never empty: padding is at most half of the kernel, and a window begins before the image ends.
inline PoolRange taps_of(std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                         std::int64_t pad) {
  const std::int64_t first = out * stride - pad;
  return {std::max<std::int64_t>(0, -first), std::min(kernel, in - first)};
}

/// The taps of window `out` inside the image or its padding: all but what ceil mode lets reach past both.
inline std::int64_t padded_taps(std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                                std::int64_t pad) {
  return std::min(kernel, in + 2 * pad - out * stride);
}

/// What the average of window (oy, ox) is divided by.
inline std::int64_t taps_counted(const PoolProblem& p, std::int64_t oy, std::int64_t ox) {
  if (p.count_include_pad) {
    return padded_taps(oy, p.h, p.kernel_h, p.stride_h, p.pad_h) *
           padded_taps(ox, p.w, p.kernel_w, p.stride_w, p.pad_w);
  }
  return taps_of(oy, p.h, p.kernel_h, p.stride_h, p.pad_h).size() *
         taps_of(ox, p.w, p.kernel_w, p.stride_w, p.pad_w).size();
}

/// The windows, of `out` in all, that contain element i; may be empty.
inline PoolRange windows_of(std::int64_t i, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                            std::int64_t pad) {
  const std::int64_t at = i + pad;
  const std::int64_t begin = at < kernel ? 0 : (at - kernel) / stride + 1;
  return {begin, std::max(begin, std::min(out, at / stride + 1))};
}

/// The average over a whole image as a window of its size.
inline PoolProblem whole_image(const GlobalPoolProblem& p) {
  return {.dtype = p.dtype, .n = p.n, .h = p.h, .w = p.w, .c = p.c, .kernel_h = p.h, .kernel_w = p.w};
}

/// The elements of an axis of `in` that adaptive window `o` of `out` covers: floor(o in / out) to ceil((o+1) in / out).
constexpr PoolRange adaptive_taps(std::int64_t o, std::int64_t in, std::int64_t out) {
  return {o * in / out, ((o + 1) * in + out - 1) / out};
}
/// The adaptive windows that cover element i.
constexpr PoolRange adaptive_windows(std::int64_t i, std::int64_t in, std::int64_t out) {
  return {i * out / in, ((i + 1) * out + in - 1) / in};
}

void max_pool_forward_reference(const PoolProblem&, Ports, Stream);
void max_pool_backward_reference(const PoolProblem&, Ports, Stream);
void avg_pool_forward_reference(const PoolProblem&, Ports, Stream);
void avg_pool_backward_reference(const PoolProblem&, Ports, Stream);
void global_avg_pool_forward_reference(const GlobalPoolProblem&, Ports, Stream);
void global_avg_pool_backward_reference(const GlobalPoolProblem&, Ports, Stream);

void adaptive_avg_pool_forward_reference(const AdaptivePoolProblem&, Ports, Stream);
void adaptive_avg_pool_backward_reference(const AdaptivePoolProblem&, Ports, Stream);
void adaptive_avg_pool_forward_cpu(const AdaptivePoolProblem&, Ports, Stream);
void adaptive_avg_pool_backward_cpu(const AdaptivePoolProblem&, Ports, Stream);

void max_pool_forward_cpu(const PoolProblem&, Ports, Stream);
void max_pool_backward_cpu(const PoolProblem&, Ports, Stream);
void avg_pool_forward_cpu(const PoolProblem&, Ports, Stream);
void avg_pool_backward_cpu(const PoolProblem&, Ports, Stream);
void global_avg_pool_forward_cpu(const GlobalPoolProblem&, Ports, Stream);
void global_avg_pool_backward_cpu(const GlobalPoolProblem&, Ports, Stream);

bool avg_pool_forward_onednn_supports(const PoolProblem&);
bool avg_pool_backward_onednn_supports(const PoolProblem&);
void avg_pool_forward_onednn(const PoolProblem&, Ports, Stream);
void avg_pool_backward_onednn(const PoolProblem&, Ports, Stream);
void global_avg_pool_forward_onednn(const GlobalPoolProblem&, Ports, Stream);
void global_avg_pool_backward_onednn(const GlobalPoolProblem&, Ports, Stream);

bool avg_pool_forward_cudnn_supports(const PoolProblem&);
void avg_pool_forward_cudnn(const PoolProblem&, Ports, Stream);
bool global_avg_pool_forward_cudnn_supports(const GlobalPoolProblem&);
void global_avg_pool_forward_cudnn(const GlobalPoolProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                                   //
    bool supports_pool_vector(const PoolProblem&);                                      //
    void max_pool_forward_vector(const PoolProblem&, Ports, Stream);                    //
    void max_pool_backward_vector(const PoolProblem&, Ports, Stream);                   //
    void avg_pool_forward_vector(const PoolProblem&, Ports, Stream);                    //
    void avg_pool_backward_vector(const PoolProblem&, Ports, Stream);                   //
    bool supports_adaptive_avg_pool_vector(const AdaptivePoolProblem&);                 //
    void adaptive_avg_pool_forward_vector(const AdaptivePoolProblem&, Ports, Stream);   //
    void adaptive_avg_pool_backward_vector(const AdaptivePoolProblem&, Ports, Stream);  //
    bool supports_global_avg_pool_columns(const GlobalPoolProblem&);                    //
    void global_avg_pool_forward_columns(const GlobalPoolProblem&, Ports, Stream);      //
    void global_avg_pool_backward_columns(const GlobalPoolProblem&, Ports, Stream);)

}  // namespace fovea
