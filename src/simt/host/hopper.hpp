// mbarriers, TMA and wgmma, host half. Copies and products take effect when nothing else can run, or when
// their group is waited for, and not before; until then their destinations hold NaN. See hopper.hpp.
#pragma once

#include <type_traits>

#include "simt/hopper_types.hpp"
#include "simt/host/core.hpp"
#include "simt/host/launch.hpp"

namespace simt {

struct alignas(64) TensorMap {
  char* data;
  std::uint64_t extent[5], stride[5];  // stride[i] in bytes along side i
  std::uint32_t box[5];
  std::uint32_t element_bytes;
  int rank;
  Swizzle swizzle;
};

namespace detail {

void mbarrier_init(Mbarrier* b, unsigned count, Site site);
void mbarrier_invalidate(Mbarrier* b, Site site);
void mbarrier_fence();
void mbarrier_arrive(Mbarrier* b, unsigned bytes, Site site);
void mbarrier_arrive_remote(Mbarrier* b, unsigned rank, Site site);
void mbarrier_expect_tx(Mbarrier* b, unsigned bytes, Site site);
bool mbarrier_test(Mbarrier* b, unsigned parity, Site site);
void mbarrier_wait(Mbarrier* b, unsigned parity, Site site);

void tma_load(void* to, const TensorMap* map, Mbarrier* b, const int* at, int rank, Site site);
void tma_load_multicast(void* to, const TensorMap* map, Mbarrier* b, const int* at, int rank, unsigned ranks,
                        Site site);
void tma_store(const TensorMap* map, const int* at, int rank, const void* from, Site site);
void bulk_load(void* to, const void* from, unsigned bytes, Mbarrier* b, Site site);
void bulk_store(void* to, const void* from, unsigned bytes, Site site);
void bulk_commit();
void bulk_wait(int groups_left, bool read_only, Site site);

/// A wgmma operand: where it begins, and how far on its next 8 rows (K-major) or 64 elements (MN-major) are.
struct WgmmaTile {
  const char* begin;
  std::uint32_t stride;
  Major major;
  friend bool operator==(const WgmmaTile&, const WgmmaTile&) = default;
};
void wgmma(float* d, int columns, const WgmmaTile& a, const WgmmaTile& b, bool accumulate, Site site);
void wgmma_fence(Site site);
void wgmma_commit(Site site);
void wgmma_wait(int groups_left, Site site);

template <class T>
TensorMap encode_tensor_map(const TensorShape& shape) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, float> || std::is_same_v<T, double>);
  TensorMap map{};
  map.data = static_cast<char*>(const_cast<void*>(shape.data));
  map.element_bytes = map.stride[0] = shape.element_bytes;
  map.rank = shape.extents.count;
  map.swizzle = shape.swizzle;
  for (int i = 0; i < map.rank; ++i) {
    const auto side = static_cast<std::size_t>(i);
    map.extent[i] = shape.extents.at[side];
    map.box[i] = static_cast<std::uint32_t>(shape.box.at[side]);
    if (i > 0) map.stride[i] = shape.strides.at[side - 1];
  }
  return map;
}

}  // namespace detail

// ---- mbarriers

/// Phases of `count` arrivals each. Followed by fence_mbarrier_init() and a barrier.
inline void mbarrier_init(Mbarrier* b, unsigned count, SIMT_SITE) { detail::mbarrier_init(b, count, site); }
/// The memory may be used for something else.
inline void mbarrier_invalidate(Mbarrier* b, SIMT_SITE) { detail::mbarrier_invalidate(b, site); }
/// Makes the initialisation visible to copies and to other blocks of the cluster.
inline void fence_mbarrier_init() { detail::mbarrier_fence(); }
/// Makes this thread's ordinary writes of shared memory visible to TMA and wgmma.
inline void fence_proxy_async() { detail::mbarrier_fence(); }
inline void mbarrier_arrive(Mbarrier* b, SIMT_SITE) { detail::mbarrier_arrive(b, 0, site); }
/// Arrives at the same variable of the block of this rank.
inline void mbarrier_arrive_remote(Mbarrier* b, unsigned rank, SIMT_SITE) {
  detail::mbarrier_arrive_remote(b, rank, site);
}
/// The current phase also waits for so many bytes; then arrives.
inline void mbarrier_arrive_expect_tx(Mbarrier* b, unsigned bytes, SIMT_SITE) {
  detail::mbarrier_arrive(b, bytes, site);
}
/// The current phase also waits for so many bytes.
inline void mbarrier_expect_tx(Mbarrier* b, unsigned bytes, SIMT_SITE) {
  detail::mbarrier_expect_tx(b, bytes, site);
}
/// Whether the phase of this parity is complete; does not wait.
inline bool mbarrier_test(Mbarrier* b, unsigned parity, SIMT_SITE) {
  return detail::mbarrier_test(b, parity, site);
}
/// Waits for the phase of this parity.
inline void mbarrier_wait(Mbarrier* b, unsigned parity, SIMT_SITE) { detail::mbarrier_wait(b, parity, site); }
/// The same where other blocks of the cluster arrive.
inline void mbarrier_wait_cluster(Mbarrier* b, unsigned parity, SIMT_SITE) {
  detail::mbarrier_wait(b, parity, site);
}

// ---- TMA

/// Fetches the map itself ahead of its first use.
inline void tma_prefetch(const TensorMap*) {}
/// Starts copying the box at these coordinates into `to`; its bytes are counted by the mbarrier.
template <int rank>
inline void tma_load(void* to, const TensorMap* map, Mbarrier* b, const int (&at)[rank], SIMT_SITE) {
  static_assert(rank >= 1 && rank <= 5, "TMA knows ranks 1 to 5");
  detail::tma_load(to, map, b, at, rank, site);
}
/// The same into every block of the cluster whose bit is set in `ranks`, at the same place, counted by the
/// same mbarrier of each.
template <int rank>
inline void tma_load_multicast(void* to, const TensorMap* map, Mbarrier* b, const int (&at)[rank],
                               std::uint16_t ranks, SIMT_SITE) {
  static_assert(rank >= 1 && rank <= 5, "TMA knows ranks 1 to 5");
  detail::tma_load_multicast(to, map, b, at, rank, ranks, site);
}
/// Starts copying a box from shared memory to these coordinates.
template <int rank>
inline void tma_store(const TensorMap* map, const int (&at)[rank], const void* from, SIMT_SITE) {
  static_assert(rank >= 1 && rank <= 5, "TMA knows ranks 1 to 5");
  detail::tma_store(map, at, rank, from, site);
}
/// Starts copying bytes from global to shared memory; they are counted by the mbarrier.
inline void bulk_load(void* to, const void* from, unsigned bytes, Mbarrier* b, SIMT_SITE) {
  detail::bulk_load(to, from, bytes, b, site);
}
/// Starts copying bytes from shared to global memory.
inline void bulk_store(void* to, const void* from, unsigned bytes, SIMT_SITE) {
  detail::bulk_store(to, from, bytes, site);
}
inline void bulk_commit() { detail::bulk_commit(); }
/// Waits until at most so many of this thread's latest groups are under way.
template <int groups_left>
inline void bulk_wait(SIMT_SITE) {
  detail::bulk_wait(groups_left, false, site);
}
/// Waits until at most so many of them have not read their source.
template <int groups_left>
inline void bulk_wait_read(SIMT_SITE) {
  detail::bulk_wait(groups_left, true, site);
}

// ---- wgmma

/// A matrix in shared memory.
template <Major major>
struct WgmmaOperand {
  detail::WgmmaTile tile;
};

inline WgmmaOperand<Major::k> wgmma_k_major(const bf16* tile) {
  return {{reinterpret_cast<const char*>(tile), 1024, Major::k}};  // groups of 8 rows follow each other
}
inline WgmmaOperand<Major::mn> wgmma_mn_major(const bf16* tile, unsigned stride_bytes = 0) {
  return {{reinterpret_cast<const char*>(tile), stride_bytes, Major::mn}};
}

/// The accumulator, an array of them too, is in the hands of wgmma from here.
template <class Accumulator>
inline void wgmma_fence(Accumulator&, SIMT_SITE) {
  detail::wgmma_fence(site);
}
inline void wgmma_fence(SIMT_SITE) { detail::wgmma_fence(site); }
inline void wgmma_commit(SIMT_SITE) { detail::wgmma_commit(site); }
/// Waits until at most so many of the latest groups are under way.
template <int groups_left>
inline void wgmma_wait(SIMT_SITE) {
  detail::wgmma_wait(groups_left, site);
}
/// ... after which the accumulator may be read.
template <int groups_left, class Accumulator>
inline void wgmma_wait(Accumulator&, SIMT_SITE) {
  detail::wgmma_wait(groups_left, site);
}
/// Starts d(64 x N) += a(64 x 16) b(16 x N), N twice the accumulator's length; without `accumulate`, d = a b.
template <int half, Major major_a, Major major_b>
inline void wgmma_bf16(float (&d)[half], WgmmaOperand<major_a> a, WgmmaOperand<major_b> b,
                       bool accumulate = true, SIMT_SITE) {
  static_assert(half == 32 || half == 64 || half == 128, "N is 64, 128 or 256");
  detail::wgmma(d, 2 * half, a.tile, b.tile, accumulate, site);
}

}  // namespace simt
