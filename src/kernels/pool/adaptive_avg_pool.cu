// adaptive_avg_pool, forward and backward: the average over windows that cover the image evenly.
//
// Idea: as avg_pool's kernels: 4 or 8 channels of a pixel of the result to a thread, which adds up the pixels of its
// window in row-major order; backward gathers from the windows that hold the pixel. No atomics, one fixed order.
//
// Traffic: Cost's bytes; overlapping windows find their rows in the caches. Launch: a thread for each run, at most 64
// blocks of 256 threads for each multiprocessor.
#include "kernels/pool/pool_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

struct AdaptiveDims {
  int h, w, out_h, out_w, c;
  explicit AdaptiveDims(const AdaptivePoolProblem& p)
      : h(static_cast<int>(p.h)),
        w(static_cast<int>(p.w)),
        out_h(static_cast<int>(p.out_h)),
        out_w(static_cast<int>(p.out_w)),
        c(static_cast<int>(p.c)) {}
};

/// Those of the other axis that meet element i of `of`: windows of an output, or outputs of an input.
__device__ __forceinline__ DeviceRange meeting(int i, int of, int other) {
  const std::int64_t at = i;
  return {static_cast<int>(at * other / of), static_cast<int>(((at + 1) * other + of - 1) / of)};
}

template <class T, int G, bool forward>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    adaptive_kernel(const T* from, AdaptiveDims d, std::int64_t count, T* to) {
  using A = Accumulator<T>;
  const int to_h = forward ? d.out_h : d.h, to_w = forward ? d.out_w : d.w;
  const int from_h = forward ? d.h : d.out_h, from_w = forward ? d.w : d.out_w;
  for_each_item(runs_of<G>(count), [&](std::int64_t run) {
    for_each_pixel_of_run<G>(run, count, d.c, [&](int, std::int64_t pixel, int channel, auto size) {
      constexpr int N = size.value;
      const PixelPlace place(pixel, to_h, to_w);
      const DeviceRange rows = meeting(place.row, to_h, from_h),
                        columns = meeting(place.column, to_w, from_w);
      A sum[N] = {};
      for (int r = rows.begin; r < rows.end; ++r) {
        for (int s = columns.begin; s < columns.end; ++s) {
          const int taps = forward ? rows.size() * columns.size()
                                   : meeting(r, d.out_h, d.h).size() * meeting(s, d.out_w, d.w).size();
          const std::int64_t at = (static_cast<std::int64_t>(place.image) * from_h + r) * from_w + s;
          A values[N];
          load_as<N>(values, from + at * d.c + channel);
#pragma unroll
          for (int e = 0; e < N; ++e) sum[e] += values[e] / A(taps);
        }
      }
      store_as<N>(to + pixel * d.c + channel, sum);
    });
  });
}

template <bool forward>
void launch(const simt::LaunchName& name, const AdaptivePoolProblem& p, Ports ports, std::int64_t count,
            Stream stream) {
  visit_pool_run(p.dtype, p.c, aligned_16({ports[0].data, ports[1].data}), [&](auto zero, auto run) {
    using T = decltype(zero);
    simt::launch(name, &adaptive_kernel<T, run, forward>, element_launch(runs_of<run>(count), stream),
                 ports[0].as<T>(), AdaptiveDims(p), count, ports[1].as<T>());
  });
}

}  // namespace

bool supports_adaptive_avg_pool_vector(const AdaptivePoolProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.x_shape().numel() <= most && p.y_shape().numel() <= most && runs_here();
}

void adaptive_avg_pool_forward_vector(const AdaptivePoolProblem& p, Ports ports, Stream stream) {
  launch<true>("adaptive_avg_pool.forward vector", p, ports, p.y_shape().numel(), stream);
}

void adaptive_avg_pool_backward_vector(const AdaptivePoolProblem& p, Ports ports, Stream stream) {
  launch<false>("adaptive_avg_pool.backward vector", p, ports, p.x_shape().numel(), stream);
}

}  // namespace fovea::SIMT_WORLD
