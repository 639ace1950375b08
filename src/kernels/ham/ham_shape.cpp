// See ham_shape.hpp.
#include "kernels/ham/ham_shape.hpp"

#include <algorithm>

#include "kernels/ham/ham_shared.hpp"
#include "simt/bf16.hpp"

namespace fovea {
namespace {

using on_host::CountingArena;
using on_host::HamDims;

constexpr std::int64_t least_pixels_per_block = 16;
constexpr std::int64_t most_threads = 512;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <template <class, class> class Shared>
std::size_t bytes_of_arrays(Dtype dtype, const HamDims& dims) {
  CountingArena arena;
  if (dtype == Dtype::f64) {
    Shared<double, double>{arena, dims};
  } else if (dtype == Dtype::f32) {
    Shared<float, float>{arena, dims};
  } else {
    Shared<simt::bf16, float>{arena, dims};
  }
  return arena.bytes;
}

std::size_t shared_bytes(Dtype dtype, const HamDims& dims, HamDirection direction) {
  return direction == HamDirection::forward ? bytes_of_arrays<on_host::HamForwardShared>(dtype, dims)
                                            : bytes_of_arrays<on_host::HamBackwardShared>(dtype, dims);
}

// Registers decide: 128 of a thread for 512 of them, 255 for 256.
std::int64_t most_threads_of(Dtype dtype, HamDirection direction) {
  return direction == HamDirection::backward && dtype != Dtype::bf16 ? 256 : most_threads;
}

// The shape for this cluster: as many threads as leave each warp two pixels and the block its shared memory.
std::optional<HamClusterShape> shape_of_cluster(const HamProblem& p, const simt::Limits& limits,
                                                HamDirection direction, std::int64_t cluster) {
  const std::int64_t pixels = divide_up(p.pixels(), cluster);
  if (pixels * p.c > std::int64_t{1} << 20 || p.hidden > std::int64_t{1} << 20) return std::nullopt;
  for (std::int64_t threads = most_threads_of(p.dtype, direction); threads >= 128; threads /= 2) {
    if (threads > 128 && threads / 32 * 2 > pixels) continue;
    const HamDims dims{static_cast<int>(p.pixels()), static_cast<int>(p.c), static_cast<int>(p.hidden),
                       static_cast<int>(pixels), static_cast<int>(threads)};
    const std::size_t bytes = shared_bytes(p.dtype, dims, direction);
    if (bytes <= limits.shared_per_block) {
      return HamClusterShape{static_cast<int>(cluster), dims.threads, dims.pixels_per_block, bytes};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<HamClusterShape> ham_cluster_shape(const HamProblem& p, const simt::Limits& limits,
                                                 HamDirection direction) {
  if (direction == HamDirection::backward && p.c > 512) return std::nullopt;
  const std::int64_t most = std::min<std::int64_t>(limits.max_cluster, 16);
  std::int64_t cluster = 1;
  std::optional<HamClusterShape> shape = shape_of_cluster(p, limits, direction, cluster);
  while (!shape && cluster * 2 <= most) shape = shape_of_cluster(p, limits, direction, cluster *= 2);
  const auto fits = [&](std::int64_t wider) {
    return wider <= std::min<std::int64_t>(most, 8) && p.n * wider <= limits.multiprocessors &&
           p.pixels() / wider >= least_pixels_per_block;
  };
  while (shape && fits(cluster * 2)) shape = shape_of_cluster(p, limits, direction, cluster *= 2);
  return shape;
}

HamTwoPassShape ham_two_pass_shape(const HamProblem& p, const simt::Limits& limits, HamDirection direction) {
  const std::int64_t tensors = direction == HamDirection::forward ? 1 : 2;
  const std::int64_t image_bytes = p.pixels() * p.c * size_of(p.dtype) * tensors;
  const auto window = static_cast<std::int64_t>(limits.cache_bytes / 2);
  const std::int64_t images = std::clamp<std::int64_t>(window / image_bytes, 1, p.n);
  // Four blocks for each multiprocessor, and at least four pixels for each warp.
  const std::int64_t wanted = divide_up(4 * std::int64_t{limits.multiprocessors}, images);
  const std::int64_t parts =
      std::clamp<std::int64_t>(wanted, 1, divide_up(p.pixels(), HamTwoPassShape::threads / 32 * 4));
  const std::int64_t pixels = divide_up(p.pixels(), parts);
  return {static_cast<int>(images), static_cast<int>(divide_up(p.pixels(), pixels)),
          static_cast<int>(pixels)};
}

}  // namespace fovea
