// adaptive_avg_pool, plain loops in double: the definition.
#include <vector>

#include "kernels/pool/kernels.hpp"

namespace fovea {
namespace {

// f(input pixel, output pixel, 1 / size of the output's window) for every pair of which one is in the other's window.
template <class F>
void for_each_pair(const AdaptivePoolProblem& p, F&& f) {
  for (std::int64_t n = 0; n < p.n; ++n) {
    for (std::int64_t i = 0; i < p.out_h; ++i) {
      for (std::int64_t j = 0; j < p.out_w; ++j) {
        const PoolRange rows = adaptive_taps(i, p.h, p.out_h), columns = adaptive_taps(j, p.w, p.out_w);
        const double share = 1 / static_cast<double>(rows.size() * columns.size());
        for (std::int64_t h = rows.begin; h < rows.end; ++h) {
          for (std::int64_t w = columns.begin; w < columns.end; ++w)
            f((n * p.h + h) * p.w + w, (n * p.out_h + i) * p.out_w + j, share);
        }
      }
    }
  }
}

// to[pixel of `to`] = the shares of `from`'s pixels, added up in double.
template <bool forward>
void run(const AdaptivePoolProblem& p, Ports ports) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = ports[0].as<T>();
    T* to = ports[1].as<T>();
    std::vector<double> sums(static_cast<std::size_t>(ports[1].numel()), 0.0);
    for_each_pair(p, [&](std::int64_t x, std::int64_t y, double share) {
      const std::int64_t source = forward ? x : y, target = forward ? y : x;
      for (std::int64_t c = 0; c < p.c; ++c)
        sums[static_cast<std::size_t>(target * p.c + c)] += share * double(from[source * p.c + c]);
    });
    for (std::size_t i = 0; i < sums.size(); ++i) to[i] = static_cast<T>(sums[i]);
  });
}

}  // namespace

void adaptive_avg_pool_forward_reference(const AdaptivePoolProblem& p, Ports ports, Stream) {
  run<true>(p, ports);
}
void adaptive_avg_pool_backward_reference(const AdaptivePoolProblem& p, Ports ports, Stream) {
  run<false>(p, ports);
}

}  // namespace fovea
