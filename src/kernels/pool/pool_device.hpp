// What the CUDA kernels of pooling share: sizes in 32 bits, windows, and how elements are given to threads. Included
// by kernel files only.
#pragma once

#include "kernels/cuda/elementwise.hpp"
#include "kernels/pool/kernels.hpp"

namespace fovea::SIMT_WORLD {

struct PoolDims {
  int h, w, c, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, y_pitch;
  bool count_include_pad;
  explicit PoolDims(const PoolProblem& p)
      : h(static_cast<int>(p.h)),
        w(static_cast<int>(p.w)),
        c(static_cast<int>(p.c)),
        out_h(static_cast<int>(p.out_h())),
        out_w(static_cast<int>(p.out_w())),
        kernel_h(static_cast<int>(p.kernel_h)),
        kernel_w(static_cast<int>(p.kernel_w)),
        stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)),
        pad_h(static_cast<int>(p.pad_h)),
        pad_w(static_cast<int>(p.pad_w)),
        y_pitch(static_cast<int>(p.y_slice.pitch(p.c))),
        count_include_pad(p.count_include_pad != 0) {}
};

/// [begin, end) of taps, or of windows, along one axis: taps_of() and windows_of() of kernels.hpp.
struct DeviceRange {
  int begin, end;
  __device__ __forceinline__ int size() const { return end - begin; }
};
__device__ __forceinline__ DeviceRange device_taps(int out, int in, int kernel, int stride, int pad) {
  const int first = out * stride - pad;
  return {max(0, -first), min(kernel, in - first)};
}
/// Those inside the image or its padding: padded_taps().
__device__ __forceinline__ int device_padded_taps(int out, int in, int kernel, int stride, int pad) {
  return min(kernel, in + 2 * pad - out * stride);
}
__device__ __forceinline__ DeviceRange device_windows(int i, int out, int kernel, int stride, int pad) {
  const int at = i + pad;
  return {at < kernel ? 0 : (at - kernel) / stride + 1, min(out, at / stride + 1)};
}

/// A pixel of images of `height` x `width`.
struct PixelPlace {
  int image, row, column;
  __device__ __forceinline__ PixelPlace(std::int64_t pixel, int height, int width) {
    const auto at = static_cast<unsigned>(pixel);
    column = static_cast<int>(at % static_cast<unsigned>(width));
    const unsigned line = at / static_cast<unsigned>(width);
    row = static_cast<int>(line % static_cast<unsigned>(height));
    image = static_cast<int>(line / static_cast<unsigned>(height));
  }
};

/// Elements that a thread takes of one pixel: whole accesses, and of packed indices whole bytes.
template <class T>
constexpr int pool_run = vector_of<T> < 4 ? 4 : vector_of<T>;

/// A thread takes G consecutive elements of a tensor of pixels x channels: where G divides the channels, of one pixel,
/// else four of up to four pixels. f(index of its first element among the thread's, pixel, channel,
/// std::integral_constant<int, elements>).
template <int G, class F>
__device__ __forceinline__ void for_each_pixel_of_run(std::int64_t run, std::int64_t count, int channels,
                                                      F&& f) {
  if constexpr (G > 1) {
    const auto per_pixel = static_cast<unsigned>(channels / G), at = static_cast<unsigned>(run);
    f(0, static_cast<std::int64_t>(at / per_pixel), static_cast<int>(at % per_pixel) * G,
      std::integral_constant<int, G>{});
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const std::int64_t i = run * 4 + e;
      if (i < count) f(e, i / channels, static_cast<int>(i % channels), std::integral_constant<int, 1>{});
    }
  }
}

/// f(zero, std::integral_constant<int, G>): G is pool_run where it divides the channels, else 1, which stands for four
/// elements one by one.
template <class F>
void visit_pool_run(Dtype dtype, std::int64_t channels, bool aligned, F&& f) {
  visit_element(dtype, [&](auto zero) {
    constexpr int run = pool_run<decltype(zero)>;
    if (aligned && channels % run == 0) {
      f(zero, std::integral_constant<int, run>{});
    } else {
      f(zero, std::integral_constant<int, 1>{});
    }
  });
}

/// Whether the rows of y begin where a run may.
template <class F>
void visit_slice_run(const PoolProblem& p, bool aligned, F&& f) {
  const std::int64_t run = p.dtype == Dtype::bf16 ? pool_run<simt::bf16> : 4;
  visit_pool_run(p.dtype, p.c, aligned && p.y_slice.begins_at_multiples(p.c, run), std::forward<F>(f));
}

/// Threads' runs of `count` elements.
template <int G>
SIMT_BOTH constexpr std::int64_t runs_of(std::int64_t count) {
  constexpr int elements = G == 1 ? 4 : G;
  return (count + elements - 1) / elements;
}

}  // namespace fovea::SIMT_WORLD
