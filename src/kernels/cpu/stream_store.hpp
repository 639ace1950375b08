// Writing past the caches: rows of an output larger than they are.
//
// An ordinary store first reads the line it is about to overwrite. Where nothing will read the output before
// it has left the caches anyway, a non-temporal store saves that read: a third of the traffic of a pass that
// reads one tensor and writes another. Without AVX-512 this falls back to ordinary stores.
#pragma once

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <cstdint>
#include <type_traits>

namespace fovea {

/// Outputs of at least this many bytes are written past the caches.
inline constexpr std::int64_t stream_store_bytes = std::int64_t{16} << 20;

/// Whether write_row() may do so for `rows` rows of `columns` elements at `out`: large, and every row made of
/// whole aligned lines.
template <class T>
bool writes_past_cache([[maybe_unused]] const T* out, [[maybe_unused]] std::int64_t columns,
                       [[maybe_unused]] std::int64_t rows) {
#ifdef __AVX512F__
  constexpr std::int64_t line = 64;
  const std::int64_t row_bytes = columns * static_cast<std::int64_t>(sizeof(T));
  return row_bytes % line == 0 && reinterpret_cast<std::uintptr_t>(out) % line == 0 &&
         rows * row_bytes >= stream_store_bytes;
#else
  return false;
#endif
}

/// out[c] = value(c) for c in [0, columns). `past_cache` as writes_past_cache() said; the kernel calls
/// finish_writes() on the same thread afterwards. `value` must be fit for a simd loop.
template <class T, class F>
inline void write_row(T* out, std::int64_t columns, [[maybe_unused]] bool past_cache, F&& value) {
#ifdef __AVX512F__
  if (past_cache) {
    constexpr std::int64_t lanes = 64 / sizeof(T);
    for (std::int64_t c = 0; c < columns; c += lanes) {
      alignas(64) T line[lanes];
#pragma omp simd
      for (std::int64_t i = 0; i < lanes; ++i) line[i] = value(c + i);
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out + c), _mm512_load_si512(line));
    }
    return;
  }
#endif
#pragma omp simd
  for (std::int64_t c = 0; c < columns; ++c) out[c] = value(c);
}

/// Orders the writes of this thread before whatever another thread is told afterwards.
inline void finish_writes([[maybe_unused]] bool past_cache) {
#ifdef __AVX512F__
  if (past_cache) _mm_sfence();
#endif
}

}  // namespace fovea
