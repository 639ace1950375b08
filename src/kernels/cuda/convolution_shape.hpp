// How convolutions are cut into blocks: pure functions of the problem and the machine's limits.
#pragma once

#include <cstdint>

#include "kernels/cuda/convolution.hpp"
#include "simt/error.hpp"

namespace fovea {

/// Which tile the products of a problem use: bf16 has a large and a small one, the others one each.
enum class ConvolutionTile { large_bf16, small_bf16, f32, f64 };
struct TileExtent {
  std::int64_t m, n;
};
/// Of tile_gemm.hpp's tiles, to which convolution_device.hpp holds it.
constexpr TileExtent extent_of(ConvolutionTile tile) {
  if (tile == ConvolutionTile::large_bf16) return {128, 128};
  if (tile == ConvolutionTile::f32) return {128, 64};
  return {64, 64};
}
/// The least rows of any tile.
constexpr std::int64_t least_tile_rows = 64;

/// The large tile where it leaves no multiprocessor without work, else the small one. `m` and `n`: rows and columns
/// of one product of which there are `products`; `vectors`: whether operands come 16 bytes at a time.
ConvolutionTile convolution_tile(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t products,
                                 bool vectors, const simt::Limits& limits);

/// Weight gradients: into how many parts the sum over the pixels is cut, so that there are blocks for all
/// multiprocessors, a part still has at least 8 steps, and no launch more than 65535 parts of `products` products.
/// `blocks`: without a cut; `steps`: of k in the whole sum.
std::int64_t weight_splits(std::int64_t blocks, std::int64_t steps, std::int64_t products,
                           const simt::Limits& limits);

}  // namespace fovea
