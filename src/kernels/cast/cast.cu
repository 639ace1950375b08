// cast: one pass, element by element.
//
// Idea: a thread takes as many elements as the narrower type has in 16 bytes, so that neither side moves less than
// that at a time; what makes no whole run goes one by one. The rounding is the hardware's: to the nearest even.
//
// Traffic: Cost's bytes. Launch: a thread for each run, at most 64 blocks of 256 threads for each multiprocessor.
#include "kernels/cast/kernels.hpp"
#include "kernels/cuda/elementwise.hpp"

namespace fovea::SIMT_WORLD {
namespace {

// What a double becomes on its way to bf16.
template <class To, class From>
__device__ __forceinline__ To converted(From x) {
  if constexpr (sizeof(To) == 2) {
    return To(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To, int V>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    cast_kernel(const From* x, std::int64_t count, To* y) {
  for_each_run<V>(count, [&](std::int64_t at, auto run) {
    constexpr int N = run.value;
    From values[N];
    To results[N];
    load_values<N>(values, x + at);
#pragma unroll
    for (int e = 0; e < N; ++e) results[e] = converted<To>(values[e]);
    store_values<N>(y + at, results);
  });
}

}  // namespace

bool supports_cast_vector(const CastProblem&) { return runs_here(); }

void cast_forward_vector(const CastProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data});
  visit_element(p.from, [&](auto from) {
    visit_element(p.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      constexpr int vector = std::max(vector_of<From>, vector_of<To>);
      simt::launch("cast.forward vector",
                   aligned ? &cast_kernel<From, To, vector> : &cast_kernel<From, To, 1>,
                   element_launch(aligned ? (p.count + vector - 1) / vector : p.count, stream),
                   ports[0].as<From>(), p.count, ports[1].as<To>());
    });
  });
}

}  // namespace fovea::SIMT_WORLD
