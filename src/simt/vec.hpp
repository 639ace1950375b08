// vec.hpp: N elements moved by one aligned access.
#pragma once

#include "simt/core.hpp"

namespace simt {

template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T at[N];
  __device__ __forceinline__ T& operator[](int i) { return at[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return at[i]; }
};

namespace detail {
template <int bytes>
struct Word;
template <>
struct Word<2> {
  using type = unsigned short;
};
template <>
struct Word<4> {
  using type = unsigned;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};
}  // namespace detail

#if defined(SIMT_DEVICE)

/// N consecutive elements; the address is a multiple of their size in all.
template <int N, class T>
__device__ __forceinline__ Vec<T, N> load(const T* from) {
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
/// The same through the read-only path, for memory that no thread writes during the launch.
template <int N, class T>
__device__ __forceinline__ Vec<T, N> load_readonly(const T* from) {
  using Word = typename detail::Word<sizeof(T) * N>::type;
  const Word word = __ldg(reinterpret_cast<const Word*>(from));
  return reinterpret_cast<const Vec<T, N>&>(word);
}
template <class T, int N>
__device__ __forceinline__ void store(T* to, const Vec<T, N>& value) {
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}
/// A store that does not push what is read again out of the caches.
template <class T, int N>
__device__ __forceinline__ void store_streaming(T* to, const Vec<T, N>& value) {
  using Word = typename detail::Word<sizeof(T) * N>::type;
  __stcs(reinterpret_cast<Word*>(to), reinterpret_cast<const Word&>(value));
}

#else

template <int N, class T>
inline Vec<T, N> load(const T* from, SIMT_SITE) {
  detail::check_aligned(from, sizeof(T) * N, site);
  Vec<T, N> value;
  __builtin_memcpy(&value, __builtin_assume_aligned(from, sizeof(T) * N), sizeof value);
  return value;
}
template <int N, class T>
inline Vec<T, N> load_readonly(const T* from, SIMT_SITE) {
  return load<N>(from, site);
}
template <class T, int N>
inline void store(T* to, const Vec<T, N>& value, SIMT_SITE) {
  detail::check_aligned(to, sizeof(T) * N, site);
  __builtin_memcpy(__builtin_assume_aligned(to, sizeof(T) * N), &value, sizeof value);
}
template <class T, int N>
inline void store_streaming(T* to, const Vec<T, N>& value, SIMT_SITE) {
  store(to, value, site);
}

#endif

}  // namespace simt
