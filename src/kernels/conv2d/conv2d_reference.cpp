// conv2d, plain loops: the definition, in float (accumulated in double) and double. A range of output pixels
// per tap is computed once, so that the inner loops have no branch; nothing else is clever.
#include <algorithm>

#include "kernels/conv2d/kernels.hpp"
#include "kernels/cpu/parallel.hpp"

namespace fovea {
namespace {

// The tap at offset t of an axis touches the input for outputs in [begin, end).
struct Range {
  std::int64_t begin, end;
};
Range valid_outputs(std::int64_t t, std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t pad,
                    std::int64_t dilation) {
  const std::int64_t shift = t * dilation - pad;  // input = output * stride + shift
  const std::int64_t begin = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  const std::int64_t end = in - 1 - shift < 0 ? 0 : (in - 1 - shift) / stride + 1;
  return {std::min(begin, out), std::clamp(end, std::min(begin, out), out)};
}

// Calls f(x offset, y offset, w offset) for every tap of every output pixel of image n that lies inside the
// input, with offsets of channel 0 of x and y and of filter 0 of w.
template <class F>
void for_each_tap(const Conv2dProblem& p, std::int64_t n, F&& f) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w(), cg = p.c / p.groups;
  for (std::int64_t r = 0; r < p.r; ++r) {
    const Range rows = valid_outputs(r, p.h, out_h, p.stride_h, p.pad_h, p.dilation_h);
    for (std::int64_t s = 0; s < p.s; ++s) {
      const Range columns = valid_outputs(s, p.w, out_w, p.stride_w, p.pad_w, p.dilation_w);
      for (std::int64_t oy = rows.begin; oy < rows.end; ++oy) {
        const std::int64_t iy = oy * p.stride_h - p.pad_h + r * p.dilation_h;
        for (std::int64_t ox = columns.begin; ox < columns.end; ++ox) {
          const std::int64_t ix = ox * p.stride_w - p.pad_w + s * p.dilation_w;
          f(((n * p.h + iy) * p.w + ix) * p.c, ((n * out_h + oy) * out_w + ox) * p.k, (r * p.s + s) * cg);
        }
      }
    }
  }
}

}  // namespace

void conv2d_forward_reference(const Conv2dProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = ports[0].as<T>(), *w = ports[1].as<T>(), *b = ports[2].as<T>();
    T* y = p.y_slice.first_of<T>(ports[3]);
    const std::int64_t pitch = p.y_slice.pitch(p.k);
    const std::int64_t cg = p.c / p.groups, kg = p.k / p.groups, per_filter = p.r * p.s * cg;
    const std::int64_t per_image = p.y_shape().numel() / p.n;
    parallel_for(p.n, [&](std::int64_t n) {
      std::vector<double> sum(static_cast<std::size_t>(per_image));
      for (std::int64_t i = 0; i < per_image; ++i) sum[static_cast<std::size_t>(i)] = b ? b[i % p.k] : 0.0;
      for_each_tap(p, n, [&](std::int64_t xo, std::int64_t yo, std::int64_t wo) {
        for (std::int64_t k = 0; k < p.k; ++k) {
          const T *xs = x + xo + k / kg * cg, *ws = w + wo + k * per_filter;
          double dot = 0;
#pragma omp simd reduction(+ : dot)
          for (std::int64_t c = 0; c < cg; ++c) dot += double(xs[c]) * double(ws[c]);
          sum[static_cast<std::size_t>(yo - n * per_image + k)] += dot;
        }
      });
      for (std::int64_t i = 0; i < per_image; ++i) {
        const double value = sum[static_cast<std::size_t>(i)];
        y[(n * per_image + i) / p.k * pitch + i % p.k] = static_cast<T>(p.relu && value < 0 ? 0.0 : value);
      }
    });
  });
}

void conv2d_backward_data_reference(const Conv2dProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *dy = ports[0].as<T>(), *w = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    const std::int64_t cg = p.c / p.groups, kg = p.k / p.groups, per_filter = p.r * p.s * cg;
    const std::int64_t per_image = p.h * p.w * p.c;
    parallel_for(p.n, [&](std::int64_t n) {
      std::vector<double> sum(static_cast<std::size_t>(per_image), 0.0);
      for_each_tap(p, n, [&](std::int64_t xo, std::int64_t yo, std::int64_t wo) {
        for (std::int64_t k = 0; k < p.k; ++k) {
          double* out = sum.data() + (xo - n * per_image) + k / kg * cg;
          const T* ws = w + wo + k * per_filter;
          const double g = double(dy[yo + k]);
          for (std::int64_t c = 0; c < cg; ++c) out[c] += g * double(ws[c]);
        }
      });
      for (std::int64_t i = 0; i < per_image; ++i)
        dx[n * per_image + i] = static_cast<T>(sum[static_cast<std::size_t>(i)]);
    });
  });
}

void conv2d_backward_weights_reference(const Conv2dProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = ports[0].as<T>(), *dy = ports[1].as<T>();
    T *dw = ports[2].as<T>(), *db = ports[3].as<T>();
    const std::int64_t cg = p.c / p.groups, kg = p.k / p.groups, per_filter = p.r * p.s * cg;
    std::vector<double> sum(static_cast<std::size_t>(p.k * per_filter), 0.0);
    // One filter per thread at a time: every thread walks all images, in order, so sums do not depend on
    // their number.
    parallel_for(p.k, [&](std::int64_t k) {
      double* out = sum.data() + k * per_filter;
      double bias = 0;
      for (std::int64_t n = 0; n < p.n; ++n) {
        for_each_tap(p, n, [&](std::int64_t xo, std::int64_t yo, std::int64_t wo) {
          const T* xs = x + xo + k / kg * cg;
          const double g = double(dy[yo + k]);
          for (std::int64_t c = 0; c < cg; ++c) out[wo + c] += g * double(xs[c]);
        });
      }
      for (std::int64_t i = 0; i < per_filter; ++i) dw[k * per_filter + i] = static_cast<T>(out[i]);
      if (db == nullptr) return;
      for (std::int64_t i = 0; i < p.y_shape().numel() / p.k; ++i) bias += double(dy[i * p.k + k]);
      db[k] = static_cast<T>(bias);
    });
  });
}

}  // namespace fovea
