// The host half of simt.hpp: the same names, as calls of the executor.
//
// Every collective takes the source line of its caller as a last, defaulted argument, so that a report can
// name the line in the kernel. What a kernel file instantiates here is compiled into it and may be
// instrumented by a sanitizer; the executor itself (*.cpp) never is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "simt/error.hpp"
#include "simt/host/types.hpp"
#include "simt/world.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// Plain __shared__ has no meaning here: simt::shared<T>() or SIMT_SHARED.
#define __shared__ static_assert(false, "use simt::shared<T>() or SIMT_SHARED instead of __shared__");

extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace simt {

using stream_t = void*;

/// A line of a kernel.
struct Site {
  const char* file = nullptr;
  int line = 0;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  friend bool operator==(const Site& a, const Site& b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
  }
};
/// The last parameter of what reports its caller's line.
#define SIMT_SITE ::simt::Site site = ::simt::Site::here(__builtin_FILE(), __builtin_LINE())

namespace detail {

enum class WarpOp : std::uint8_t { syncwarp, shuffle, vote, ldmatrix, mma, wgmma };

/// Computes a warp collective for all lanes in `lanes`; operands[lane] is what that lane deposited.
using WarpLeader = void (*)(std::uint32_t lanes, void* const* operands);

void warp_collective(std::uint32_t mask, WarpOp op, void* operand, WarpLeader leader, Site site);
std::uint32_t active_mask();
void block_barrier(Site site);
void named_barrier(int id, int threads, bool waits, Site site);
void cluster_barrier(Site site);
void* dynamic_shared(std::size_t bytes, std::size_t alignment, Site site);
void* static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* name, Site site);
void* map_rank(void* pointer, unsigned rank, Site site);
unsigned cluster_rank();
unsigned cluster_size();
[[noreturn]] void fail_misaligned(const void* pointer, std::size_t bytes, Site site);
inline void check_aligned(const void* pointer, std::size_t bytes, Site site) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % bytes != 0) [[unlikely]]
    fail_misaligned(pointer, bytes, site);
}
[[noreturn]] void fail(Fault fault, const std::string& what, Site site);
/// Tells the checker of an access that the executor makes for the running thread.
void note_access(const void* pointer, std::size_t bytes, bool write, bool atomic, Site site);

}  // namespace detail

template <class T>
inline T& shared(SIMT_SITE) {
  static_assert(std::is_trivially_destructible_v<T>, "shared memory holds trivial structs");
  return *static_cast<T*>(detail::dynamic_shared(sizeof(T), alignof(T), site));
}
#define SIMT_SHARED(T, name, ...)                                                                       \
  static const char simt_key_##name = 0;                                                                \
  using simt_type_##name = T __VA_ARGS__;                                                               \
  simt_type_##name& name = *static_cast<simt_type_##name*>(::simt::detail::static_shared(               \
      &simt_key_##name, sizeof(simt_type_##name), std::max<std::size_t>(16, alignof(simt_type_##name)), \
      #name, ::simt::Site::here(__builtin_FILE(), __builtin_LINE())))

inline unsigned linear_thread() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
inline unsigned lane() { return linear_thread() % 32; }
inline unsigned warp() { return linear_thread() / 32; }

inline void named_barrier(int id, int threads, SIMT_SITE) { detail::named_barrier(id, threads, true, site); }
/// Arrives there and goes on: a producer's half of the barrier. `threads` counts those that arrive and those
/// that wait.
inline void named_barrier_arrive(int id, int threads, SIMT_SITE) {
  detail::named_barrier(id, threads, false, site);
}
inline unsigned cluster_rank() { return detail::cluster_rank(); }
inline unsigned cluster_size() { return detail::cluster_size(); }
inline void cluster_sync(SIMT_SITE) { detail::cluster_barrier(site); }
template <class T>
inline T* map_shared_rank(T* pointer, unsigned rank, SIMT_SITE) {
  using Plain = std::remove_const_t<T>;
  return static_cast<T*>(detail::map_rank(const_cast<Plain*>(pointer), rank, site));
}

}  // namespace simt

// ---- CUDA's own names

inline void __syncthreads(SIMT_SITE) { simt::detail::block_barrier(site); }
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  simt::detail::warp_collective(mask, simt::detail::WarpOp::syncwarp, nullptr, nullptr, site);
}
// The executor runs the threads of a cluster in one OS thread: their accesses are ordered already.
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace simt::detail {

template <class T>
struct Shuffle {
  T value, result;
  int source;
  Site site;
};

template <class T>
void shuffle_leader(std::uint32_t lanes, void* const* operands) {
  for (std::uint32_t left = lanes; left != 0; left &= left - 1) {
    auto* mine = static_cast<Shuffle<T>*>(operands[__builtin_ctz(left)]);
    if ((lanes >> mine->source & 1) == 0) {
      fail(Fault::mask,
           "lane " + std::to_string(__builtin_ctz(left)) + " shuffles from lane " +
               std::to_string(mine->source) +
               ", which does not take part (it has exited or is not in the mask)",
           mine->site);
    }
    mine->result = static_cast<Shuffle<T>*>(operands[mine->source])->value;
  }
}

// Source lanes outside of the segment of `width` lanes leave the value as it is, as the hardware does.
void check_shuffle_width(int width, Site site);
template <class T>
T shuffle(unsigned mask, T value, int source, bool in_segment, int width, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
  check_shuffle_width(width, site);
  Shuffle<T> operand{value, value, in_segment ? source : int(lane()), site};
  warp_collective(mask, WarpOp::shuffle, &operand, &shuffle_leader<T>, site);
  return operand.result;
}

struct Vote {
  bool predicate;
  std::uint32_t result;
};
void vote_leader(std::uint32_t lanes, void* const* operands);
inline std::uint32_t vote(unsigned mask, bool predicate, Site site) {
  Vote operand{predicate, 0};
  warp_collective(mask, WarpOp::vote, &operand, &vote_leader, site);
  return operand.result;
}

}  // namespace simt::detail

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMT_SITE) {
  const int first = int(simt::lane()) & ~(width - 1);
  return simt::detail::shuffle(mask, value, first | (source & (width - 1)), true, width, site);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, SIMT_SITE) {
  const int mine = int(simt::lane()), source = mine ^ lane_mask, end = (mine & ~(width - 1)) + width;
  return simt::detail::shuffle(mask, value, source, source >= 0 && source < end, width, site);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  const int mine = int(simt::lane()), source = mine - int(delta & 31);
  return simt::detail::shuffle(mask, value, source, source >= (mine & ~(width - 1)), width, site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  const int mine = int(simt::lane()), source = mine + int(delta & 31);
  return simt::detail::shuffle(mask, value, source, source < (mine & ~(width - 1)) + width, width, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::vote(mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::vote(mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::vote(mask, predicate == 0, site) == 0;
}
inline unsigned __activemask() { return simt::detail::active_mask(); }

namespace simt::detail {

enum class AtomicOp : std::uint8_t { add, min, max, exchange };
/// For int, unsigned, unsigned long long, float and double; returns what was there before.
template <class T>
T atomic(AtomicOp op, T* pointer, T value, Site site);
template <class T>
T atomic_compare_and_swap(T* pointer, T expected, T desired, Site site);

}  // namespace simt::detail

template <class T>
inline T atomicAdd(T* pointer, std::type_identity_t<T> value, SIMT_SITE) {
  return simt::detail::atomic(simt::detail::AtomicOp::add, pointer, value, site);
}
template <class T>
inline T atomicMin(T* pointer, std::type_identity_t<T> value, SIMT_SITE) {
  return simt::detail::atomic(simt::detail::AtomicOp::min, pointer, value, site);
}
template <class T>
inline T atomicMax(T* pointer, std::type_identity_t<T> value, SIMT_SITE) {
  return simt::detail::atomic(simt::detail::AtomicOp::max, pointer, value, site);
}
template <class T>
inline T atomicExch(T* pointer, std::type_identity_t<T> value, SIMT_SITE) {
  return simt::detail::atomic(simt::detail::AtomicOp::exchange, pointer, value, site);
}
template <class T>
inline T atomicCAS(T* pointer, std::type_identity_t<T> expected, std::type_identity_t<T> desired, SIMT_SITE) {
  return simt::detail::atomic_compare_and_swap(pointer, expected, desired, site);
}

template <class T>
inline T __ldg(const T* pointer) {
  return *pointer;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::max;
using std::min;
