// See convolution_shape.hpp.
#include "kernels/cuda/convolution_shape.hpp"

#include <algorithm>

namespace fovea {

ConvolutionTile convolution_tile(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t products,
                                 bool vectors, const simt::Limits& limits) {
  if (dtype == Dtype::f32) return ConvolutionTile::f32;
  if (dtype == Dtype::f64) return ConvolutionTile::f64;
  const TileExtent large = extent_of(ConvolutionTile::large_bf16);
  const std::int64_t blocks = (m + large.m - 1) / large.m * ((n + large.n - 1) / large.n) * products;
  return vectors && blocks >= limits.multiprocessors ? ConvolutionTile::large_bf16
                                                     : ConvolutionTile::small_bf16;
}

std::int64_t weight_splits(std::int64_t blocks, std::int64_t steps, std::int64_t products,
                           const simt::Limits& limits) {
  const std::int64_t wanted = (2 * static_cast<std::int64_t>(limits.multiprocessors) + blocks - 1) / blocks;
  return std::clamp<std::int64_t>(std::min({wanted, steps / 8, std::int64_t{65535} / products}), 1, 64);
}

}  // namespace fovea
