// What head's kernels of both directions share: the parts of two image tensors. Included by kernel files only.
#pragma once

#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/scratch.hpp"
#include "kernels/cuda/small_layers.hpp"
#include "kernels/head/head_shape.hpp"
#include "kernels/head/kernels.hpp"

namespace fovea::SIMT_WORLD {

constexpr int head_threads = HeadParts::threads;
constexpr int head_warps = head_threads / 32;
/// A block for each image, in the layers that are too small for more.
constexpr int image_threads = 512;

// ---- m and r in one launch

/// One of the two: n images of `pixels` x channels. Absent: parts is 0.
template <class T>
struct HeadImages {
  T* data;
  int pixels, parts, pixels_per_part;
};

template <class T>
HeadImages<T> head_images(const View& view, const HeadParts& shape) {
  if (!view) return {nullptr, 1, 0, 1};
  return {view.as<T>(), static_cast<int>(view.shape[1] * view.shape[2]), static_cast<int>(shape.parts),
          static_cast<int>(shape.pixels_per_part)};
}

/// The pixels and the tile of channels of this block: the blocks of m come first, then those of r.
template <class T>
struct HeadShare {
  HeadImages<T> of;
  bool is_r;
  int tile, part;
  std::size_t image;
  int begin, end;  // pixels
  __device__ __forceinline__ HeadShare(const HeadImages<T>& m, const HeadImages<T>& r, int images,
                                       int tiles) {
    unsigned block = blockIdx.x;
    const unsigned blocks_of_m = static_cast<unsigned>(images) * static_cast<unsigned>(m.parts * tiles);
    is_r = block >= blocks_of_m;
    if (is_r) block -= blocks_of_m;
    of = is_r ? r : m;
    tile = static_cast<int>(block % static_cast<unsigned>(tiles));
    block /= static_cast<unsigned>(tiles);
    part = static_cast<int>(block % static_cast<unsigned>(of.parts));
    image = block / static_cast<unsigned>(of.parts);
    begin = part * of.pixels_per_part;
    end = min(of.pixels, begin + of.pixels_per_part);
  }
};

constexpr int group_images = 8;  // that share one reading of the shortcut's weights

inline simt::Launch head_launch(std::int64_t blocks, int threads, Stream stream) {
  return {.grid = static_cast<unsigned>(blocks),
          .block = static_cast<unsigned>(threads),
          .stream = stream_of(stream)};
}

}  // namespace fovea::SIMT_WORLD
