// Pooling, plain loops: the definition, in float (summed in double) and double. Backward scatters from the
// windows, which is how the definition reads; one image at a time, so that no two threads add to one element.
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/pool/kernels.hpp"
#include "kernels/pool/pool_indices.hpp"

namespace fovea {
namespace {

// Calls f(number of the window, rows of taps, columns of taps, offset of x at tap 0,0 and channel 0, which lies outside
// where tap 0,0 does) for every window of image n.
template <class F>
void for_each_window(const PoolProblem& p, std::int64_t n, F&& f) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w();
  for (std::int64_t oy = 0; oy < out_h; ++oy) {
    const PoolRange rows = taps_of(oy, p.h, p.kernel_h, p.stride_h, p.pad_h);
    for (std::int64_t ox = 0; ox < out_w; ++ox) {
      const PoolRange columns = taps_of(ox, p.w, p.kernel_w, p.stride_w, p.pad_w);
      const std::int64_t origin =
          ((n * p.h + oy * p.stride_h - p.pad_h) * p.w + ox * p.stride_w - p.pad_w) * p.c;
      f((n * out_h + oy) * out_w + ox, rows, columns, origin);
    }
  }
}

double divisor(const PoolProblem& p, std::int64_t window) {
  return static_cast<double>(taps_counted(p, window / p.out_w() % p.out_h(), window % p.out_w()));
}

// Gathers what the windows of an image add to its pixels: add(sum, index within the image, value).
template <class T, class F>
void scatter_image(const PoolProblem& p, std::int64_t n, T* dx, F&& add_all) {
  const std::int64_t per_image = p.h * p.w * p.c;
  std::vector<double> sum(static_cast<std::size_t>(per_image), 0.0);
  add_all([&](std::int64_t at, double value) { sum[static_cast<std::size_t>(at - n * per_image)] += value; });
  for (std::int64_t i = 0; i < per_image; ++i)
    dx[n * per_image + i] = static_cast<T>(sum[static_cast<std::size_t>(i)]);
}

std::int64_t index_at(const PoolProblem& p, const std::uint8_t* indices, std::int64_t i) {
  return p.packs_indices() ? indices[i / 4] >> 2 * (i % 4) & 3 : indices[i];
}

}  // namespace

void max_pool_forward_reference(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = p.y_slice.first_of<T>(ports[1]);
    std::uint8_t* indices = ports[2].as<std::uint8_t>();
    std::vector<std::uint8_t> winners(static_cast<std::size_t>(p.y_shape().numel()));
    parallel_for(p.n, [&](std::int64_t n) {
      for_each_window(p, n, [&](std::int64_t window, PoolRange rows, PoolRange columns, std::int64_t origin) {
        for (std::int64_t c = 0; c < p.c; ++c) {
          std::int64_t winner = rows.begin * p.kernel_w + columns.begin;
          T best = x[origin + (rows.begin * p.w + columns.begin) * p.c + c];
          for (std::int64_t r = rows.begin; r < rows.end; ++r) {
            for (std::int64_t s = columns.begin; s < columns.end; ++s) {
              const T value = x[origin + (r * p.w + s) * p.c + c];
              if (value > best || std::isnan(value)) {
                best = value;
                winner = r * p.kernel_w + s;
              }
            }
          }
          y[window * p.y_slice.pitch(p.c) + c] = best;
          winners[static_cast<std::size_t>(window * p.c + c)] = static_cast<std::uint8_t>(winner);
        }
      });
    });
    if (indices == nullptr) return;
    if (p.packs_indices()) {
      pack_pool_indices(winners.data(), p.y_shape().numel(), indices);
    } else {
      std::copy(winners.begin(), winners.end(), indices);
    }
  });
}

void max_pool_backward_reference(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::uint8_t* indices = ports[0].as<std::uint8_t>();
    const T* dy = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    parallel_for(p.n, [&](std::int64_t n) {
      scatter_image(p, n, dx, [&](auto&& add) {
        for_each_window(p, n,
                        [&](std::int64_t window, PoolRange rows, PoolRange columns, std::int64_t origin) {
                          for (std::int64_t r = rows.begin; r < rows.end; ++r) {
                            for (std::int64_t s = columns.begin; s < columns.end; ++s) {
                              for (std::int64_t c = 0; c < p.c; ++c) {
                                if (index_at(p, indices, window * p.c + c) == r * p.kernel_w + s)
                                  add(origin + (r * p.w + s) * p.c + c, double(dy[window * p.c + c]));
                              }
                            }
                          }
                        });
      });
    });
  });
}

void avg_pool_forward_reference(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = p.y_slice.first_of<T>(ports[1]);
    parallel_for(p.n, [&](std::int64_t n) {
      for_each_window(p, n, [&](std::int64_t window, PoolRange rows, PoolRange columns, std::int64_t origin) {
        for (std::int64_t c = 0; c < p.c; ++c) {
          double sum = 0;
          for (std::int64_t r = rows.begin; r < rows.end; ++r) {
            for (std::int64_t s = columns.begin; s < columns.end; ++s) {
              sum += double(x[origin + (r * p.w + s) * p.c + c]);
            }
          }
          y[window * p.y_slice.pitch(p.c) + c] = static_cast<T>(sum / divisor(p, window));
        }
      });
    });
  });
}

void avg_pool_backward_reference(const PoolProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = ports[0].as<T>();
    T* dx = ports[1].as<T>();
    parallel_for(p.n, [&](std::int64_t n) {
      scatter_image(p, n, dx, [&](auto&& add) {
        for_each_window(p, n,
                        [&](std::int64_t window, PoolRange rows, PoolRange columns, std::int64_t origin) {
                          const double share = 1 / divisor(p, window);
                          for (std::int64_t r = rows.begin; r < rows.end; ++r) {
                            for (std::int64_t s = columns.begin; s < columns.end; ++s) {
                              for (std::int64_t c = 0; c < p.c; ++c)
                                add(origin + (r * p.w + s) * p.c + c, share * double(dy[window * p.c + c]));
                            }
                          }
                        });
      });
    });
  });
}

void global_avg_pool_forward_reference(const GlobalPoolProblem& p, Ports ports, Stream stream) {
  avg_pool_forward_reference(whole_image(p), ports, stream);
}

void global_avg_pool_backward_reference(const GlobalPoolProblem& p, Ports ports, Stream stream) {
  avg_pool_backward_reference(whole_image(p), ports, stream);
}

}  // namespace fovea
