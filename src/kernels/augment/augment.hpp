// augment: a batch of images, augmented and normalised, from 8-bit images that stay where the kernels run.
//
//   (u, v) = ( xx x + xy y + x0, yx x + yy y + y0 ), each clamped to the image        the source of pixel (x, y)
//   level  = floor( clamp( gain bilinear(image, u, v) + offset, 0, 255 ) + 1/2 )
//   out    = ( level / 255 - mean ) / deviation
//
// Exactly what the loader does with one image after another (data/augment.hpp, data/loader.hpp), in its order of
// operations: coordinates and the last line in double, the interpolation in float, rounded to 8 bits between the
// two. So a batch is a table of indices and of eight numbers per sample; the pixels travel once a run. The tone
// curve's offset depends on the mean of the image, which the caller knows.
//
// Products and sums are contracted as each compiler likes, so where a value lies within rounding of the middle
// between two levels, worlds may take different ones: one level, on few pixels.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct AugmentProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t images = 1;  // that are resident
  std::int64_t n = 1, h = 1, w = 1, c = 1;

  static constexpr std::int64_t parameters = 8;  // xx xy x0 yx yy y0 gain offset
  Shape x_shape() const { return {n, h, w, c}; }
  void check() const;
};

/// Ports: images (images,h,w,c; u8), index (n, i64: which of the images each sample takes; -1: the sample lacks
/// the modality, its pixels are 0), params (n,8; f64), normalise (c,2; f64: mean, deviation), x (n,h,w,c).
/// Other indices are an Error where the host reads them, NaN on a device.
extern const PrimitiveOf<AugmentProblem> augment_forward;

}  // namespace fovea
