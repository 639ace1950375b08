// mbarriers, TMA and wgmma, device half (sm_90a). See hopper.hpp.
#pragma once

#include <cuda.h>  // types only: nothing links the driver

#include <cstdint>
#include <type_traits>

#include "simt/device/core.hpp"
#include "simt/device/launch.hpp"
#include "simt/hopper_types.hpp"

// A statement of inline PTX where the architecture has it, a trap where it does not.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define SIMT_SM90(...) asm volatile(__VA_ARGS__)
#else
#define SIMT_SM90(...) ::simt::detail::needs_hopper()
#endif
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SIMT_SM90A(...) asm volatile(__VA_ARGS__)
#else
#define SIMT_SM90A(...) ::simt::detail::needs_hopper()
#endif

namespace simt {
inline namespace on_device {

namespace detail {
__device__ __forceinline__ void needs_hopper() { __trap(); }
__device__ __forceinline__ std::uint64_t global_address(const void* pointer) {
  return static_cast<std::uint64_t>(__cvta_generic_to_global(pointer));
}
}  // namespace detail

// ---- mbarriers

/// Phases of `count` arrivals each. Followed by fence_mbarrier_init() and a barrier.
__device__ __forceinline__ void mbarrier_init(Mbarrier* b, unsigned count) {
  SIMT_SM90("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(count) : "memory");
}
/// The memory may be used for something else.
__device__ __forceinline__ void mbarrier_invalidate(Mbarrier* b) {
  SIMT_SM90("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(b)) : "memory");
}
/// Makes the initialisation visible to copies and to other blocks of the cluster.
__device__ __forceinline__ void fence_mbarrier_init() {
  SIMT_SM90("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Makes this thread's ordinary writes of shared memory visible to TMA and wgmma.
__device__ __forceinline__ void fence_proxy_async() {
  SIMT_SM90("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(Mbarrier* b) {
  SIMT_SM90("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
/// Arrives at the same variable of the block of this rank.
__device__ __forceinline__ void mbarrier_arrive_remote(Mbarrier* b, unsigned rank) {
  SIMT_SM90(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(b)),
      "r"(rank)
      : "memory");
}
/// The current phase also waits for so many bytes; then arrives.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(Mbarrier* b, unsigned bytes) {
  SIMT_SM90("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
            : "memory");
}
/// The current phase also waits for so many bytes.
__device__ __forceinline__ void mbarrier_expect_tx(Mbarrier* b, unsigned bytes) {
  SIMT_SM90("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
            : "memory");
}
/// Whether the phase of this parity is complete; does not wait.
__device__ __forceinline__ bool mbarrier_test(Mbarrier* b, unsigned parity) {
  std::uint32_t complete = 0;
  SIMT_SM90(
      "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
      : "=r"(complete)
      : "r"(shared_address(b)), "r"(parity)
      : "memory");
  return complete != 0;
}
/// Waits for the phase of this parity.
__device__ __forceinline__ void mbarrier_wait(Mbarrier* b, unsigned parity) {
  std::uint32_t complete = 0;
  do {  // try_wait suspends the thread for a while itself
    SIMT_SM90(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(complete)
        : "r"(shared_address(b)), "r"(parity)
        : "memory");
  } while (complete == 0);
}
/// The same where other blocks of the cluster arrive.
__device__ __forceinline__ void mbarrier_wait_cluster(Mbarrier* b, unsigned parity) {
  std::uint32_t complete = 0;
  do {
    SIMT_SM90(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(complete)
        : "r"(shared_address(b)), "r"(parity)
        : "memory");
  } while (complete == 0);
}

// ---- TMA

using TensorMap = CUtensorMap;

namespace detail {

template <class T>
constexpr CUtensorMapDataType tensor_type() {
  if constexpr (std::is_same_v<T, bf16>) return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  if constexpr (std::is_same_v<T, float>) return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  if constexpr (std::is_same_v<T, double>) return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
}

constexpr CUtensorMapSwizzle tensor_swizzle(Swizzle swizzle) {
  return swizzle == Swizzle::bytes128  ? CU_TENSOR_MAP_SWIZZLE_128B
         : swizzle == Swizzle::bytes64 ? CU_TENSOR_MAP_SWIZZLE_64B
         : swizzle == Swizzle::bytes32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                       : CU_TENSOR_MAP_SWIZZLE_NONE;
}

/// The driver's encoder, asked of the runtime so that nothing links libcuda.
inline decltype(&cuTensorMapEncodeTiled) tensor_map_encoder() {
  static const auto encoder = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found),
        "make_tensor_map", "cudaGetDriverEntryPointByVersion");
    if (found != cudaDriverEntryPointSuccess || entry == nullptr) {
      throw Error(Fault::runtime, "make_tensor_map: the driver has no cuTensorMapEncodeTiled");
    }
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
  }();
  return encoder;
}

template <class T>
TensorMap encode_tensor_map(const TensorShape& shape) {
  std::array<cuuint64_t, 5> extents{}, strides{};
  std::array<cuuint32_t, 5> box{}, step{};
  for (std::size_t i = 0; i < 5; ++i) {
    extents[i] = shape.extents.at[i];
    strides[i] = shape.strides.at[i];
    box[i] = static_cast<cuuint32_t>(shape.box.at[i]);
    step[i] = 1;
  }
  TensorMap map{};
  const CUresult status = tensor_map_encoder()(
      &map, tensor_type<T>(), static_cast<cuuint32_t>(shape.extents.count), const_cast<void*>(shape.data),
      extents.data(), strides.data(), box.data(), step.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
      tensor_swizzle(shape.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Error(Fault::runtime, "make_tensor_map: cuTensorMapEncodeTiled failed with CUresult " +
                                    std::to_string(static_cast<int>(status)));
  }
  return map;
}

}  // namespace detail

/// Fetches the map itself ahead of its first use.
__device__ __forceinline__ void tma_prefetch(const TensorMap* map) {
  SIMT_SM90("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// Starts copying the box at these coordinates into `to`; its bytes are counted by the mbarrier.
template <int rank>
__device__ __forceinline__ void tma_load(void* to, const TensorMap* map, Mbarrier* b, const int (&at)[rank]) {
  static_assert(rank >= 1 && rank <= 5, "TMA knows ranks 1 to 5");
  if constexpr (rank == 1) {
    SIMT_SM90(
        "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0])
        : "memory");
  } else if constexpr (rank == 2) {
    SIMT_SM90(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0]), "r"(at[1])
        : "memory");
  } else if constexpr (rank == 3) {
    SIMT_SM90(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  } else if constexpr (rank == 4) {
    SIMT_SM90(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
  } else if constexpr (rank == 5) {
    SIMT_SM90(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
        : "memory");
  }
}
/// The same into every block of the cluster whose bit is set in `ranks`, at the same place, counted by the
/// same mbarrier of each.
template <int rank>
__device__ __forceinline__ void tma_load_multicast(void* to, const TensorMap* map, Mbarrier* b,
                                                   const int (&at)[rank], std::uint16_t ranks) {
  static_assert(rank >= 1 && rank <= 5, "TMA knows ranks 1 to 5");
  if constexpr (rank == 1) {
    SIMT_SM90(
        "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%4}], [%2], %3;" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "h"(ranks), "r"(at[0])
        : "memory");
  } else if constexpr (rank == 2) {
    SIMT_SM90(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "h"(ranks), "r"(at[0]), "r"(at[1])
        : "memory");
  } else if constexpr (rank == 3) {
    SIMT_SM90(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "h"(ranks), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  } else if constexpr (rank == 4) {
    SIMT_SM90(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "h"(ranks), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
  } else if constexpr (rank == 5) {
    SIMT_SM90(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "h"(ranks), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]),
        "r"(at[4])
        : "memory");
  }
}
/// Starts copying a box from shared memory to these coordinates.
template <int rank>
__device__ __forceinline__ void tma_store(const TensorMap* map, const int (&at)[rank], const void* from) {
  static_assert(rank >= 1 && rank <= 5, "TMA knows ranks 1 to 5");
  if constexpr (rank == 1) {
    SIMT_SM90("cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%2}], [%1];" ::"l"(map),
              "r"(shared_address(from)), "r"(at[0])
              : "memory");
  } else if constexpr (rank == 2) {
    SIMT_SM90("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
              "r"(shared_address(from)), "r"(at[0]), "r"(at[1])
              : "memory");
  } else if constexpr (rank == 3) {
    SIMT_SM90(
        "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
        "r"(shared_address(from)), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  } else if constexpr (rank == 4) {
    SIMT_SM90(
        "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
        "r"(shared_address(from)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
  } else if constexpr (rank == 5) {
    SIMT_SM90(
        "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(
            map),
        "r"(shared_address(from)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
        : "memory");
  }
}

/// Starts copying bytes from global to shared memory; they are counted by the mbarrier.
__device__ __forceinline__ void bulk_load(void* to, const void* from, unsigned bytes, Mbarrier* b) {
  SIMT_SM90("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                shared_address(to)),
            "l"(detail::global_address(from)), "r"(bytes), "r"(shared_address(b))
            : "memory");
}
/// Starts copying bytes from shared to global memory.
__device__ __forceinline__ void bulk_store(void* to, const void* from, unsigned bytes) {
  SIMT_SM90("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(detail::global_address(to)),
            "r"(shared_address(from)), "r"(bytes)
            : "memory");
}
__device__ __forceinline__ void bulk_commit() { SIMT_SM90("cp.async.bulk.commit_group;" ::: "memory"); }
/// Waits until at most so many of this thread's latest groups are under way.
template <int groups_left>
__device__ __forceinline__ void bulk_wait() {
  SIMT_SM90("cp.async.bulk.wait_group %0;" ::"n"(groups_left) : "memory");
}
/// Waits until at most so many of them have not read their source.
template <int groups_left>
__device__ __forceinline__ void bulk_wait_read() {
  SIMT_SM90("cp.async.bulk.wait_group.read %0;" ::"n"(groups_left) : "memory");
}

// ---- wgmma

/// A matrix in shared memory.
template <Major major>
struct WgmmaOperand {
  std::uint64_t descriptor;
};

namespace detail {
// Start address, leading and stride byte offsets in units of 16 bytes, and the 128-byte swizzle.
__device__ __forceinline__ std::uint64_t matrix_descriptor(const void* tile, unsigned leading_bytes,
                                                           unsigned stride_bytes) {
  const std::uint64_t start = (shared_address(tile) & 0x3ffffu) >> 4;
  return start | std::uint64_t(leading_bytes >> 4) << 16 | std::uint64_t(stride_bytes >> 4) << 32 |
         std::uint64_t(1) << 62;
}
// Keeps the compiler from moving ordinary accesses of these registers across.
template <int n>
__device__ __forceinline__ void pin(float (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int m, int n>
__device__ __forceinline__ void pin(float (&d)[m][n]) {
#pragma unroll
  for (int i = 0; i < m; ++i) pin(d[i]);
}
}  // namespace detail

__device__ __forceinline__ WgmmaOperand<Major::k> wgmma_k_major(const bf16* tile) {
  return {detail::matrix_descriptor(tile, 16, 1024)};  // groups of 8 rows follow each other
}
__device__ __forceinline__ WgmmaOperand<Major::mn> wgmma_mn_major(const bf16* tile,
                                                                  unsigned stride_bytes = 0) {
  return {detail::matrix_descriptor(tile, stride_bytes, 1024)};
}

__device__ __forceinline__ void wgmma_fence() { SIMT_SM90A("wgmma.fence.sync.aligned;" ::: "memory"); }
/// The accumulator, an array of them too, is in the hands of wgmma from here.
template <class Accumulator>
__device__ __forceinline__ void wgmma_fence(Accumulator& d) {
  detail::pin(d);
  wgmma_fence();
}
__device__ __forceinline__ void wgmma_commit() {
  SIMT_SM90A("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most so many of the latest groups are under way.
template <int groups_left>
__device__ __forceinline__ void wgmma_wait() {
  SIMT_SM90A("wgmma.wait_group.sync.aligned %0;" ::"n"(groups_left) : "memory");
}
/// ... after which the accumulator may be read.
template <int groups_left, class Accumulator>
__device__ __forceinline__ void wgmma_wait(Accumulator& d) {
  wgmma_wait<groups_left>();
  detail::pin(d);
}

// The operand lists of the asm statements below.
#define SIMT_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SIMT_D16(i) SIMT_D4(i), SIMT_D4(i + 4), SIMT_D4(i + 8), SIMT_D4(i + 12)
#define SIMT_D32(i) SIMT_D16(i), SIMT_D16(i + 16)

#define SIMT_R0                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SIMT_R32                                                                     \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SIMT_R64                                                                     \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define SIMT_R96                                                                                 \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SIMT_WGMMA(shape, registers, a_index, b_index, add_index, a_major, b_major, ...)                   \
  SIMT_SM90A("{\n.reg .pred p;\nsetp.ne.b32 p, " add_index                                                 \
             ", 0;\n"                                                                                      \
             "wgmma.mma_async.sync.aligned." shape ".f32.bf16.bf16 {" registers "}, " a_index ", " b_index \
             ", p, 1, 1, " a_major ", " b_major ";\n}"                                                     \
             : __VA_ARGS__                                                                                 \
             : "l"(a.descriptor), "l"(b.descriptor), "r"(static_cast<int>(accumulate)),                    \
               "n"(static_cast<int>(major_a)), "n"(static_cast<int>(major_b))                              \
             : "memory")

/// Starts d(64 x N) += a(64 x 16) b(16 x N), N twice the accumulator's length; without `accumulate`, d = a b.
template <int half, Major major_a, Major major_b>
__device__ __forceinline__ void wgmma_bf16(float (&d)[half], WgmmaOperand<major_a> a, WgmmaOperand<major_b> b,
                                           bool accumulate = true) {
  static_assert(half == 32 || half == 64 || half == 128, "N is 64, 128 or 256");
  if constexpr (half == 32) {
    SIMT_WGMMA("m64n64k16", SIMT_R0, "%32", "%33", "%34", "%35", "%36", SIMT_D32(0));
  } else if constexpr (half == 64) {
    SIMT_WGMMA("m64n128k16", SIMT_R0 ", " SIMT_R32, "%64", "%65", "%66", "%67", "%68", SIMT_D32(0),
               SIMT_D32(32));
  } else {
    SIMT_WGMMA("m64n256k16", SIMT_R0 ", " SIMT_R32 ", " SIMT_R64 ", " SIMT_R96, "%128", "%129", "%130",
               "%131", "%132", SIMT_D32(0), SIMT_D32(32), SIMT_D32(64), SIMT_D32(96));
  }
}

#undef SIMT_WGMMA
#undef SIMT_R0
#undef SIMT_R32
#undef SIMT_R64
#undef SIMT_R96
#undef SIMT_D32
#undef SIMT_D16
#undef SIMT_D4
#undef SIMT_SM90
#undef SIMT_SM90A

}  // namespace on_device
}  // namespace simt
