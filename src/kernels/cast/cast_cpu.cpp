// cast, a vectorised pass over blocks that fit the first-level cache, given out to the threads.
#include "kernels/cast/kernels.hpp"
#include "kernels/cpu/parallel.hpp"

namespace fovea {

void cast_forward_cpu(const CastProblem& p, Ports ports, Stream) {
  constexpr std::int64_t block = 8192;
  visit_any(p.from, [&](auto from) {
    visit_any(p.dtype, [&](auto to) {
      const auto* x = ports[0].as<decltype(from)>();
      auto* y = ports[1].as<decltype(to)>();
      parallel_blocks(p.count, block, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) y[i] = static_cast<decltype(to)>(x[i]);
      });
    });
  });
}

}  // namespace fovea
