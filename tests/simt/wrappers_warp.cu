// Kernels that use the sm_80 wrappers one at a time: ldmatrix, mma.sync, conversions, cp.async, named barriers.
#include "simt/simt.hpp"
#include "wrappers.hpp"

#if defined(SIMT_DEVICE)
#include <cuda_bf16.h>
#endif

namespace fovea::simt_tests::SIMT_WORLD {
namespace {

// ---- ldmatrix

template <int matrices, bool transposed>
__device__ void load_matrices(std::uint32_t (&r)[4], const void* row) {
  if constexpr (matrices == 1) {
    transposed ? simt::ldmatrix_x1_trans(r[0], row) : simt::ldmatrix_x1(r[0], row);
  } else if constexpr (matrices == 2) {
    std::uint32_t pair[2];
    transposed ? simt::ldmatrix_x2_trans(pair, row) : simt::ldmatrix_x2(pair, row);
    r[0] = pair[0];
    r[1] = pair[1];
  } else {
    transposed ? simt::ldmatrix_x4_trans(r, row) : simt::ldmatrix_x4(r, row);
  }
}

struct LdmatrixShared {
  alignas(16) std::uint16_t row[32][24];  // rows 48 bytes apart: they may lie anywhere
};

template <int matrices, bool transposed>
__global__ void ldmatrix_kernel(const std::uint16_t* rows, std::uint32_t* registers) {
  auto& s = simt::shared<LdmatrixShared>();
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) s.row[lane][i] = rows[lane * 8 + i];
  __syncwarp();
  std::uint32_t r[4] = {};
  load_matrices<matrices, transposed>(r, s.row[lane]);
  for (int i = 0; i < matrices; ++i) registers[lane * matrices + i] = r[i];
}

std::vector<std::uint32_t> run_ldmatrix(int matrices, bool transposed,
                                        const std::vector<std::uint16_t>& rows) {
  simt::DeviceArray<std::uint16_t> in(rows);
  simt::DeviceArray<std::uint32_t> out(static_cast<std::size_t>(32 * matrices));
  const auto kernel = matrices == 1   ? (transposed ? &ldmatrix_kernel<1, true> : &ldmatrix_kernel<1, false>)
                      : matrices == 2 ? (transposed ? &ldmatrix_kernel<2, true> : &ldmatrix_kernel<2, false>)
                                      : (transposed ? &ldmatrix_kernel<4, true> : &ldmatrix_kernel<4, false>);
  simt::launch("ldmatrix", kernel, {.block = 32, .shared_bytes = sizeof(LdmatrixShared)}, in.data(),
               out.data());
  return out.to_host();
}

// ---- mma.sync

__global__ void mma_bf16_kernel(const bf16* a, const bf16* b, float* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto a_pair = [&](int row, int k) { return simt::pack(a[row * 16 + k], a[row * 16 + k + 1]); };
  const auto b_pair = [&](int k) { return simt::pack(b[k * 8 + g], b[(k + 1) * 8 + g]); };
  const std::uint32_t fragment[4] = {a_pair(g, 2 * t), a_pair(g + 8, 2 * t), a_pair(g, 2 * t + 8),
                                     a_pair(g + 8, 2 * t + 8)};
  float* mine = d + g * 8 + 2 * t;
  float sum[4] = {mine[0], mine[1], mine[64], mine[65]};
  simt::mma_bf16_m16n8k16(sum, fragment, b_pair(2 * t), b_pair(2 * t + 8));
  mine[0] = sum[0];
  mine[1] = sum[1];
  mine[64] = sum[2];
  mine[65] = sum[3];
}

template <bool rounded>
__global__ void mma_tf32_kernel(const float* a, const float* b, float* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto operand = [](float x) {
    if constexpr (rounded) return simt::to_tf32(x);
    std::uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
  };
  const std::uint32_t fragment[4] = {operand(a[g * 8 + t]), operand(a[(g + 8) * 8 + t]),
                                     operand(a[g * 8 + t + 4]), operand(a[(g + 8) * 8 + t + 4])};
  float* mine = d + g * 8 + 2 * t;
  float sum[4] = {mine[0], mine[1], mine[64], mine[65]};
  simt::mma_tf32_m16n8k8(sum, fragment, operand(b[t * 8 + g]), operand(b[(t + 4) * 8 + g]));
  mine[0] = sum[0];
  mine[1] = sum[1];
  mine[64] = sum[2];
  mine[65] = sum[3];
}

__global__ void mma_f64_kernel(const double* a, const double* b, double* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  double sum[2] = {d[g * 8 + 2 * t], d[g * 8 + 2 * t + 1]};
  simt::mma_f64_m8n8k4(sum, a[g * 4 + t], b[t * 8 + g]);
  d[g * 8 + 2 * t] = sum[0];
  d[g * 8 + 2 * t + 1] = sum[1];
}

template <class T, class D>
std::vector<D> run_mma(void (*kernel)(const T*, const T*, D*), const std::vector<T>& a,
                       const std::vector<T>& b, const std::vector<D>& d) {
  simt::DeviceArray<T> left(a), right(b);
  simt::DeviceArray<D> sum(d);
  simt::launch("mma", kernel, {.block = 32}, left.data(), right.data(), sum.data());
  return sum.to_host();
}

std::vector<float> run_mma_bf16(const std::vector<bf16>& a, const std::vector<bf16>& b,
                                const std::vector<float>& d) {
  return run_mma<bf16, float>(&mma_bf16_kernel, a, b, d);
}
std::vector<float> run_mma_tf32(const std::vector<float>& a, const std::vector<float>& b,
                                const std::vector<float>& d, bool rounded) {
  return run_mma<float, float>(rounded ? &mma_tf32_kernel<true> : &mma_tf32_kernel<false>, a, b, d);
}
std::vector<double> run_mma_f64(const std::vector<double>& a, const std::vector<double>& b,
                                const std::vector<double>& d) {
  return run_mma<double, double>(&mma_f64_kernel, a, b, d);
}

// ---- conversions

__global__ void to_tf32_kernel(const float* from, std::uint32_t* to, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = simt::to_tf32(from[i]);
}
__global__ void to_bf16_kernel(const float* from, std::uint16_t* to, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] = bf16(from[i]).bits;
}

template <class To>
std::vector<To> run_conversion(void (*kernel)(const float*, To*, int), const std::vector<float>& values) {
  simt::DeviceArray<float> from(values);
  simt::DeviceArray<To> to(values.size());
  simt::launch("convert", kernel, {.block = 256}, from.data(), to.data(), static_cast<int>(values.size()));
  return to.to_host();
}
std::vector<std::uint32_t> run_to_tf32(const std::vector<float>& values) {
  return run_conversion<std::uint32_t>(&to_tf32_kernel, values);
}
std::vector<std::uint16_t> run_to_bf16(const std::vector<float>& values) {
  return run_conversion<std::uint16_t>(&to_bf16_kernel, values);
}

#if defined(SIMT_DEVICE)
std::vector<std::uint16_t> cuda_to_bf16(const std::vector<float>& values) {
  std::vector<std::uint16_t> bits;
  for (const float value : values) bits.push_back(__bfloat16_as_ushort(__float2bfloat16_rn(value)));
  return bits;
}
std::vector<float> cuda_from_bf16(const std::vector<std::uint16_t>& bits) {
  std::vector<float> values;
  for (const std::uint16_t b : bits) values.push_back(__bfloat162float(__ushort_as_bfloat16(b)));
  return values;
}
#else
constexpr decltype(WarpRunners::cuda_to_bf16) cuda_to_bf16 = nullptr;
constexpr decltype(WarpRunners::cuda_from_bf16) cuda_from_bf16 = nullptr;
#endif

// ---- cp.async

struct CopyShared {
  alignas(16) unsigned char bytes[64 * 16];
};

// Two groups: the even threads' copies and the odd ones'; all are waited for in turn.
template <int width>
__global__ void cp_async_kernel(const unsigned char* from, const int* bytes, unsigned char* to) {
  auto& s = simt::shared<CopyShared>();
  const int i = threadIdx.x;
  if (i % 2 == 0) simt::cp_async<width>(s.bytes + i * width, from + i * width, bytes[i]);
  simt::cp_async_commit();
  if (i % 2 == 1) simt::cp_async<width>(s.bytes + i * width, from + i * width, bytes[i]);
  simt::cp_async_commit();
  simt::cp_async_wait<1>();
  if (i % 2 == 0) {
    for (int j = 0; j < width; ++j) to[i * width + j] = s.bytes[i * width + j];
  }
  simt::cp_async_wait<0>();
  __syncthreads();
  const int neighbour = i ^ 1;  // another thread's copy, after the barrier
  if (neighbour % 2 == 1) {
    for (int j = 0; j < width; ++j) to[neighbour * width + j] = s.bytes[neighbour * width + j];
  }
}

std::vector<unsigned char> run_cp_async(int width, const std::vector<unsigned char>& from,
                                        const std::vector<int>& bytes) {
  simt::DeviceArray<unsigned char> source(from), target(from.size());
  simt::DeviceArray<int> count(bytes);
  const auto kernel = width == 4   ? &cp_async_kernel<4>
                      : width == 8 ? &cp_async_kernel<8>
                                   : &cp_async_kernel<16>;
  simt::launch("cp_async", kernel, {.block = 64, .shared_bytes = sizeof(CopyShared)}, source.data(),
               count.data(), target.data());
  return target.to_host();
}

// ---- named barriers

constexpr int full = 1, empty = 2;

__global__ void named_barrier_kernel(int rounds, int* to) {
  SIMT_SHARED(int, slot, [32]);
  const int lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
    for (int i = 0; i < rounds; ++i) {
      if (i > 0) simt::named_barrier(empty, 64);
      slot[lane] = 100 * i + lane;
      simt::named_barrier_arrive(full, 64);
    }
  } else {
    for (int i = 0; i < rounds; ++i) {
      simt::named_barrier(full, 64);
      to[i * 32 + lane] = slot[31 - lane];
      if (i + 1 < rounds) simt::named_barrier_arrive(empty, 64);
    }
  }
}

std::vector<int> run_named_barriers(int rounds) {
  simt::DeviceArray<int> to(static_cast<std::size_t>(rounds * 32));
  simt::launch("named_barriers", &named_barrier_kernel, {.block = 64}, rounds, to.data());
  return to.to_host();
}

int architecture() {
  try {
    return simt::limits().architecture;
  } catch (const simt::Error&) {
    return 0;
  }
}

}  // namespace

WarpRunners warp_runners() {
  return {.architecture = &architecture,
          .ldmatrix = &run_ldmatrix,
          .mma_bf16 = &run_mma_bf16,
          .mma_tf32 = &run_mma_tf32,
          .mma_f64 = &run_mma_f64,
          .to_tf32 = &run_to_tf32,
          .to_bf16 = &run_to_bf16,
          .cuda_to_bf16 = cuda_to_bf16,
          .cuda_from_bf16 = cuda_from_bf16,
          .cp_async = &run_cp_async,
          .named_barriers = &run_named_barriers};
}

}  // namespace fovea::simt_tests::SIMT_WORLD
