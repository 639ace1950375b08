// dropout forward and backward: one pass, eight elements to a thread.
//
//   forward    words of Philox4x32-10 of counter {i/4, offset} and key {seed} decide; y = x / (1-p) where kept; the mask
//   backward   dx = dy / (1-p) where the mask has a bit
//
// Idea: eight elements are two blocks of Philox and one byte of the mask, so each thread writes whole bytes of its own,
// the unused bits of the last one as zeros.
//
// Traffic: Cost's bytes. Philox is about 80 integer operations for four elements, which the memory hides in float and
// about balances in bf16. Launch: a thread for each byte of the mask, at most 64 blocks of 256 threads for each
// multiprocessor.
#include "kernels/cuda/elementwise.hpp"
#include "kernels/cuda/philox.hpp"
#include "kernels/pointwise/kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

constexpr int byte_elements = 8;

// Of the elements from `at` on that a byte of the mask stands for: y = x scale where the byte has a bit. In one go
// where all eight exist, else one by one.
template <int V, class T, class A>
__device__ __forceinline__ void apply_mask(const T* x, std::int64_t at, std::int64_t count, unsigned bits,
                                           A scale, T* y) {
  if (V > 1 && at + byte_elements <= count) {
    A values[byte_elements];
    load_as<byte_elements>(values, x + at);
#pragma unroll
    for (int e = 0; e < byte_elements; ++e) values[e] = (bits >> e & 1) != 0 ? values[e] * scale : A(0);
    store_as<byte_elements>(y + at, values);
  } else {
#pragma unroll
    for (int e = 0; e < byte_elements; ++e) {
      if (at + e < count) y[at + e] = (bits >> e & 1) != 0 ? T(A(x[at + e]) * scale) : T(0.0f);
    }
  }
}

template <class T, int V>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    dropout_forward_kernel(const T* x, const std::int64_t* key, std::int64_t count, std::uint64_t threshold,
                           Accumulator<T> scale, T* y, std::uint8_t* mask) {
  for_each_item((count + byte_elements - 1) / byte_elements, [&](std::int64_t byte) {
    unsigned bits = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const PhiloxWords words = random_words(key, static_cast<std::uint64_t>(2 * byte + half));
#pragma unroll
      for (int e = 0; e < 4; ++e) bits |= (words.at[e] >= threshold ? 1u : 0u) << (4 * half + e);
    }
    const std::int64_t at = byte * byte_elements, left = count - at;
    if (left < byte_elements) bits &= (1u << left) - 1;
    apply_mask<V>(x, at, count, bits, scale, y);
    mask[byte] = static_cast<std::uint8_t>(bits);
  });
}

template <class T, int V>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    dropout_backward_kernel(const std::uint8_t* mask, const T* dy, std::int64_t count, Accumulator<T> scale,
                            T* dx) {
  for_each_item((count + byte_elements - 1) / byte_elements, [&](std::int64_t byte) {
    apply_mask<V>(dy, byte * byte_elements, count, mask[byte], scale, dx);
  });
}

}  // namespace

bool supports_dropout_vector(const DropoutProblem&) { return runs_here(); }

void dropout_forward_vector(const DropoutProblem& p, Ports ports, Stream stream) {
  visit_runs(p.dtype, aligned_16({ports[0].data, ports[2].data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    simt::launch("dropout.forward vector", &dropout_forward_kernel<T, vector>,
                 element_launch((p.count + byte_elements - 1) / byte_elements, stream), ports[0].as<T>(),
                 ports[1].as<std::int64_t>(), p.count, dropout_threshold(p.p),
                 Accumulator<T>(dropout_scale(p.p)), ports[2].as<T>(), ports[3].as<std::uint8_t>());
  });
}

void dropout_backward_vector(const DropoutProblem& p, Ports ports, Stream stream) {
  visit_runs(p.dtype, aligned_16({ports[1].data, ports[2].data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    simt::launch("dropout.backward vector", &dropout_backward_kernel<T, vector>,
                 element_launch((p.count + byte_elements - 1) / byte_elements, stream),
                 ports[0].as<std::uint8_t>(), ports[1].as<T>(), p.count, Accumulator<T>(dropout_scale(p.p)),
                 ports[2].as<T>());
  });
}

}  // namespace fovea::SIMT_WORLD
