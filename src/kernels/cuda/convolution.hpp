// Convolutions as implicit matrix products, for the ops that convolve: conv2d, and mlrm, whose dilated branches
// share their input and run in one launch.
//
//   forward    y_b[pixel, k] = sum_{tap, c} x[pixel at tap of b, c] w_b[k, tap, c]
//   data       dx[pixel, c] = add[pixel, c] + sum_{b, tap, k} dy_b[pixel at tap of b, k] w_b[k, tap, c]
//   weights    dw_b[k, tap, c] = sum_pixel dy_b[pixel, k] x[pixel at tap of b, c]
//
// "Implicit": the matrix of gathered pixels is never written; a block gathers its tile, 16 bytes at a time, with
// zeros where a tap lies in the padding. Included by kernel files only; each direction is a file of this folder.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/runtime/primitive.hpp"
#include "simt/world.hpp"

namespace fovea {

/// Extents as in conv2d.hpp; dilation and padding are each branch's own, the output's extents are given and the same
/// for all branches.
struct Convolution {
  static constexpr int max_branches = 4, max_taps = 256;

  Dtype dtype = Dtype::f32;
  std::int64_t n = 1, h = 1, w = 1, c = 1;   // input
  std::int64_t out_h = 1, out_w = 1, k = 1;  // output
  std::int64_t r = 1, s = 1;                 // taps
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t groups = 1;
  std::int64_t branches = 1;
  std::int64_t y_pitch = 0;  // forward only: elements from pixel to pixel of y; 0: k
  struct Branch {
    std::int64_t dilation_h = 1, dilation_w = 1, pad_h = 0, pad_w = 0;
  };
  std::array<Branch, max_branches> branch{};

  std::int64_t taps() const { return r * s; }
  std::int64_t group_c() const { return c / groups; }
  std::int64_t group_k() const { return k / groups; }
  /// Elements of one branch's filters.
  std::int64_t filter_size() const { return k * taps() * group_c(); }
};

/// A pointer for each branch.
template <class T>
using PerBranch = std::array<T*, Convolution::max_branches>;

}  // namespace fovea

namespace fovea::SIMT_WORLD {

/// Whether these kernels take the problem on this machine.
bool supports_convolution(const Convolution& p);

/// What happens to the sums on their way out.
struct ConvolutionEpilogue {
  const void* bias = nullptr;  // K of param_dtype, or none
  bool relu = false;
  /// Of param_dtype, branches x tiles x 2 x K, or none: mean, and sum of squared deviations from it, of each channel
  /// over each tile of pixels.
  void* statistics = nullptr;
};
/// Returns the pixels of a tile of the statistics, at least least_tile_rows; the last tile has what is left.
std::int64_t convolve(const Convolution& p, const void* x, const PerBranch<const void>& w,
                      const PerBranch<void>& y, const ConvolutionEpilogue& epilogue, Stream stream);
/// `add`: an image that is added to dx, or null.
void convolve_backward_data(const Convolution& p, const PerBranch<const void>& dy,
                            const PerBranch<const void>& w, const void* add, void* dx, Stream stream);

/// dw, of param_dtype; null for a branch whose filters need no gradient.
void convolve_backward_weights(const Convolution& p, const void* x, const PerBranch<const void>& dy,
                               const PerBranch<void>& dw, Stream stream);

}  // namespace fovea::SIMT_WORLD
