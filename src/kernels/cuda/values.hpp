// Small arrays of a thread's values: V consecutive ones moved in accesses of at most 16 bytes. Included by kernel
// files only.
#pragma once

#include "simt/simt.hpp"

namespace fovea::SIMT_WORLD {

template <class A, int V>
constexpr int piece = V* static_cast<int>(sizeof(A)) <= 16 ? V : 16 / static_cast<int>(sizeof(A));

template <int V, class A>
__device__ __forceinline__ void load_values(A* to, const A* from) {
#pragma unroll
  for (int i = 0; i < V; i += piece<A, V>) {
    const simt::Vec<A, piece<A, V>> values = simt::load<piece<A, V>>(from + i);
#pragma unroll
    for (int e = 0; e < piece<A, V>; ++e) to[i + e] = values[e];
  }
}

template <int V, class A>
__device__ __forceinline__ void store_values(A* to, const A* from) {
#pragma unroll
  for (int i = 0; i < V; i += piece<A, V>) {
    simt::Vec<A, piece<A, V>> values;
#pragma unroll
    for (int e = 0; e < piece<A, V>; ++e) values[e] = from[i + e];
    simt::store(to + i, values);
  }
}

/// The same with a conversion: V elements of T to values of A.
template <int V, class T, class A>
__device__ __forceinline__ void load_as(A* to, const T* from) {
  T values[V];
  load_values<V>(values, from);
#pragma unroll
  for (int e = 0; e < V; ++e) to[e] = A(values[e]);
}

template <int V, class T, class A>
__device__ __forceinline__ void store_as(T* to, const A* from) {
  T values[V];
#pragma unroll
  for (int e = 0; e < V; ++e) values[e] = T(from[e]);
  store_values<V>(to, values);
}

}  // namespace fovea::SIMT_WORLD
