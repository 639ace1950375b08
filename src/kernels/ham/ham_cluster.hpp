// What the forward and the backward cluster kernel share: the image's way into the shared memory of its
// cluster, and slices of small arrays that its blocks compute for each other. Included by kernel files only.
#pragma once

#include "kernels/ham/ham_device.hpp"
#include "kernels/ham/ham_shape.hpp"

namespace fovea::SIMT_WORLD {

/// Which pixels a block holds: a contiguous part of its image.
struct BlockShare {
  std::size_t image;
  int rank, cluster, begin, size;
  __device__ __forceinline__ explicit BlockShare(const HamDims& d)
      : image(blockIdx.x / simt::cluster_size()),
        rank(static_cast<int>(simt::cluster_rank())),
        cluster(static_cast<int>(simt::cluster_size())),
        begin(min(rank * d.pixels_per_block, d.pixels)),
        size(min(d.pixels_per_block, d.pixels - begin)) {}
};

/// A warp's pixels on their way into shared memory: all copies are started at once, in four groups, and the
/// warp waits for a group when it comes to its pixels. No other warp reads them, so no block barrier is needed.
template <int V, class T>
class WarpTile {
 public:
  __device__ __forceinline__ WarpTile(T* to, const T* from, int pixels, int channels)
      : pixels_(pixels), step_(max((pixels + groups - 1) / groups, 1)) {
    for (int g = 0; g < groups; ++g) {
      const int begin = min(g * step_, pixels) * channels, end = min((g + 1) * step_, pixels) * channels;
      copy(to, from, begin, end);
    }
  }

  /// Returns when the first `needed` pixels are there, for all lanes.
  __device__ __forceinline__ void wait_for(int needed) {
    while (arrived_ < needed) {
      wait_for_group(group_++);
      __syncwarp();
      arrived_ = min(group_ * step_, pixels_);
    }
  }

 private:
  static constexpr int groups = 4;

  static __device__ __forceinline__ void copy(T* to, const T* from, int begin, int end) {
    const int lane = static_cast<int>(simt::lane());
    if constexpr (V > 1) {
      for (int i = begin + lane * V; i < end; i += 32 * V) simt::cp_async<16>(to + i, from + i);
      simt::cp_async_commit();
    } else {
      for (int i = begin + lane; i < end; i += 32) to[i] = from[i];
    }
  }

  static __device__ __forceinline__ void wait_for_group(int g) {
    if constexpr (V > 1) {
      if (g == 0) simt::cp_async_wait<3>();
      if (g == 1) simt::cp_async_wait<2>();
      if (g == 2) simt::cp_async_wait<1>();
      if (g >= 3) simt::cp_async_wait<0>();
    }
  }

  int pixels_, step_;  // of a group
  int group_ = 0, arrived_ = 0;
};

/// The part of an array of `count` values that this block of the cluster computes.
struct Slice {
  int size, begin, end;
  __device__ __forceinline__ Slice(int count, const BlockShare& block)
      : size((count + block.cluster - 1) / block.cluster),
        begin(min(block.rank * size, count)),
        end(min(begin + size, count)) {}
};

/// Completes this block's copy from the slices of the others, after a cluster_sync().
template <class A>
__device__ __forceinline__ void gather_slices(A* array, int count, const BlockShare& block) {
  const Slice mine(count, block);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    const int owner = i / mine.size;
    if (owner != block.rank) array[i] = *simt::map_shared_rank(array + i, static_cast<unsigned>(owner));
  }
}

/// The sum of value i of this array over the blocks of the cluster, in order of rank.
template <class A>
__device__ __forceinline__ A sum_over_cluster(A* array, int i, const BlockShare& block) {
  A sum = *simt::map_shared_rank(array + i, 0u);
  for (int r = 1; r < block.cluster; ++r) sum += *simt::map_shared_rank(array + i, static_cast<unsigned>(r));
  return sum;
}

/// Placed in the block's dynamic shared memory.
template <class Arrays>
__device__ __forceinline__ Arrays shared_arrays(const HamDims& d) {
  struct alignas(16) Bytes {
    unsigned char at[16];
  };
  BlockArena arena{reinterpret_cast<unsigned char*>(&simt::shared<Bytes>())};
  return Arrays(arena, d);
}

inline HamDims dims_of(const HamProblem& p, const HamClusterShape& shape) {
  return {static_cast<int>(p.pixels()), static_cast<int>(p.c), static_cast<int>(p.hidden),
          shape.pixels_per_block, shape.threads};
}

inline simt::Launch launch_of(const HamProblem& p, const HamClusterShape& shape, Stream stream) {
  return {.grid = static_cast<unsigned>(p.n * shape.cluster),
          .block = static_cast<unsigned>(shape.threads),
          .shared_bytes = shape.shared_bytes,
          .cluster = static_cast<unsigned>(shape.cluster),
          .stream = stream_of(stream)};
}

}  // namespace fovea::SIMT_WORLD
