// Measured ceilings: a copy of 256 MiB in all, and a register-blocked multiply-add loop on every thread
// (dense matrix products reach nearly the same; this one needs no library).
#include "kernels/runtime/peaks.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/runtime/storage.hpp"

namespace fovea {
namespace {

double measure_copy() {
  constexpr std::int64_t bytes = 128 << 20;
  Storage from(bytes), to(bytes);
  std::memset(from.data(), 1, static_cast<std::size_t>(bytes));
  std::memset(to.data(), 2, static_cast<std::size_t>(bytes));
  double best = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double begin = omp_get_wtime();
#pragma omp parallel
    {
      const std::int64_t part = bytes / omp_get_num_threads(), at = part * omp_get_thread_num();
      std::memcpy(static_cast<char*>(to.data()) + at, static_cast<char*>(from.data()) + at,
                  static_cast<std::size_t>(part));
    }
    best = std::min(best, omp_get_wtime() - begin);
  }
  return 2.0 * static_cast<double>(bytes) / best;
}

double measure_flops() {
  constexpr int lanes = 256, rounds = 200000;
  double best = 1e9, sink = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const double begin = omp_get_wtime();
#pragma omp parallel reduction(+ : sink)
    {
      alignas(64) float acc[lanes];
      for (int i = 0; i < lanes; ++i) acc[i] = static_cast<float>(i);
      for (int round = 0; round < rounds; ++round) {
#pragma omp simd
        for (int i = 0; i < lanes; ++i) acc[i] = acc[i] * 0.999f + 0.5f;
      }
      for (float a : acc) sink += a;
    }
    best = std::min(best, omp_get_wtime() - begin);
  }
  const double flops = 2.0 * lanes * rounds * omp_get_max_threads() / best;
  return sink == 0.125 ? 0 : flops;  // uses the result, so that the loop stays
}

}  // namespace

const Peaks& measured_peaks() {
  static const Peaks peaks{measure_copy(), measure_flops()};
  return peaks;
}

}  // namespace fovea
