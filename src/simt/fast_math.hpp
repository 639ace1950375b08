// fast_math.hpp: the special-function unit's approximations in float, the exact functions in double. On the
// host both are exact, so results differ between the worlds by the approximation, which NVIDIA states as at most
// 2 + floor(|1.173 x|) units in the last place for __expf (CUDA C++ Programming Guide) and a relative 2^-11 for
// tanh.approx.f32 (PTX ISA).
#pragma once

#include "simt/core.hpp"

namespace simt {

#if defined(SIMT_DEVICE)
__device__ __forceinline__ float fast_exp(float x) { return __expf(x); }
__device__ __forceinline__ float fast_divide(float a, float b) { return __fdividef(a, b); }
__device__ __forceinline__ float fast_tanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#else
inline float fast_exp(float x) { return std::exp(x); }
inline float fast_divide(float a, float b) { return a / b; }
inline float fast_tanh(float x) { return std::tanh(x); }
#endif
__device__ __forceinline__ double fast_exp(double x) { return exp(x); }
__device__ __forceinline__ double fast_divide(double a, double b) { return a / b; }
__device__ __forceinline__ double fast_tanh(double x) { return tanh(x); }

/// 1 / (1 + exp(-x)): 0 and 1 far out, NaN for NaN.
template <class T>
__device__ __forceinline__ T fast_sigmoid(T x) {
  return fast_divide(T(1), T(1) + fast_exp(-x));
}

}  // namespace simt
