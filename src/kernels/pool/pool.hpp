// Pooling over N,H,W,C: maximum, average, and the average over a whole image.
//
//   max   y[n,p,q,c] = max over the window, index = r * kernel_w + s of the tap that won
//   avg   y[n,p,q,c] = sum over the window / (kernel_h kernel_w, or the taps inside the image)
//   window of (p, q): taps r, s at row p stride_h - pad_h + r and column q stride_w - pad_w + s, those inside
//   the image global_avg   y[n,c] = mean over h, w
//
// Semantics of torch.nn.functional.max_pool2d, avg_pool2d (no dilation) and adaptive_avg_pool2d(1): padding is at most
// half of the kernel; the first of equal maxima in row-major order wins and takes the whole gradient; a NaN is a maximum
// (of several, the last). In ceil mode a last window may reach past the padding, if it begins inside the image or the
// padding before it; what lies past the padding after the image is no tap that an average counts. The forwards of both can
// write y into channels of a larger image: y_slice. Indices are taps within the
// window, where PyTorch keeps eight bytes per pixel of the plane. Of a window of at most four taps they have two
// bits: that of element i of y stands in byte i/4 at bits 2 (i%4), and the unused bits of the last byte are zero. Of a
// larger window they have a byte each; so it has fewer than 256 taps.
#pragma once

#include "kernels/runtime/channel_slice.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct PoolProblem {
  Dtype dtype = Dtype::f32;
  std::int32_t count_include_pad = 1;       // average only: padding counts as zeros
  std::int64_t n = 1, h = 1, w = 1, c = 1;  // input
  std::int64_t kernel_h = 2, kernel_w = 2;
  std::int64_t stride_h = 2, stride_w = 2;
  std::int64_t pad_h = 0, pad_w = 0;  // on both sides
  std::int64_t ceil_mode = 0;         // a window that the image and its padding cut short counts
  ChannelSlice y_slice = {};          // forward only: where y lies in its port

  std::int64_t out_h() const { return windows(h, kernel_h, stride_h, pad_h); }
  std::int64_t out_w() const { return windows(w, kernel_w, stride_w, pad_w); }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape y_shape() const { return {n, out_h(), out_w(), c}; }
  /// Whether an index of the maximum has two bits.
  bool packs_indices() const { return kernel_h * kernel_w <= 4; }
  /// Of the port `indices`, in bytes.
  Shape indices_shape() const { return packs_indices() ? Shape{(y_shape().numel() + 3) / 4} : y_shape(); }
  void check() const;
  /// check(), and that a tap's number fits a byte.
  void check_max() const;
  bool operator==(const PoolProblem&) const = default;

 private:
  std::int64_t windows(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad) const {
    const std::int64_t rest = in + 2 * pad - kernel;
    if (ceil_mode == 0) return rest / stride + 1;
    const std::int64_t last = (rest + stride - 1) / stride;
    return last * stride < in + pad ? last + 1 : last;
  }
};

/// Windows that cover the image evenly, whatever its size: torch.nn.functional.adaptive_avg_pool2d. Neighbours overlap
/// where the sizes do not divide; an image smaller than the output gives its pixels several times.
struct AdaptivePoolProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 1, h = 1, w = 1, c = 1;  // input
  std::int64_t out_h = 1, out_w = 1;

  Shape x_shape() const { return {n, h, w, c}; }
  Shape y_shape() const { return {n, out_h, out_w, c}; }
  void check() const;
};

struct GlobalPoolProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 1, h = 1, w = 1, c = 1;  // input

  Shape x_shape() const { return {n, h, w, c}; }
  Shape y_shape() const { return {n, c}; }
  void check() const;
};

/// Ports: x, y (an update where it is a slice), indices (u8, indices_shape(); optional).
extern const PrimitiveOf<PoolProblem> max_pool_forward;
/// Ports: indices, dy, dx.
extern const PrimitiveOf<PoolProblem> max_pool_backward;
/// Ports: x, y (an update where it is a slice).
extern const PrimitiveOf<PoolProblem> avg_pool_forward;
/// Ports: dy, dx.
extern const PrimitiveOf<PoolProblem> avg_pool_backward;
/// Ports: x, y.
extern const PrimitiveOf<AdaptivePoolProblem> adaptive_avg_pool_forward;
/// Ports: dy, dx.
extern const PrimitiveOf<AdaptivePoolProblem> adaptive_avg_pool_backward;
/// Ports: x, y (N,C).
extern const PrimitiveOf<GlobalPoolProblem> global_avg_pool_forward;
/// Ports: dy (N,C), dx.
extern const PrimitiveOf<GlobalPoolProblem> global_avg_pool_backward;

}  // namespace fovea
