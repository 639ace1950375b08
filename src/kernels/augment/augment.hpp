// augment: a batch of images, augmented and normalised, from 8-bit images that stay where the kernels run.
//
//   (u, v) = ( xx x + xy y + x0, yx x + yy y + y0 ), each clamped to the image        the source of pixel (x, y)
//   level  = floor( clamp( gain bilinear(image, u, v) + offset, 0, 255 ) + 1/2 )
//   out    = ( level / 255 - mean ) / deviation
//
// Coordinates and the last line in double, the interpolation in float, rounded to 8 bits between the two. The arithmetic of
// a pixel stands here once, for the kernels and for the loader, which does the same with one image after another
// (data/augment.hpp, data/loader.hpp). So a batch is a table of indices and of eight numbers per sample; the pixels travel once a run. The tone
// curve's offset depends on the mean of the image, which the caller knows.
//
// Products and sums are contracted as each compiler likes, so where a value lies within rounding of the middle
// between two levels, worlds may take different ones: one level, on few pixels.
#pragma once

#include <cstdint>

#include "kernels/runtime/primitive.hpp"
#include "simt/world.hpp"

namespace fovea {

/// A resampling in numbers, a row of the port `params`: where the source of pixel (x, y) lies, in_x = xx x + xy y + x0
/// and in_y = yx x + yy y + y0, and the tone curve, gain v + offset.
struct ResampleParameters {
  double xx = 1, xy = 0, x0 = 0, yx = 0, yy = 1, y0 = 0;
  double gain = 1, offset = 0;
  bool is_identity() const { return *this == ResampleParameters{}; }
  bool operator==(const ResampleParameters&) const = default;
};

struct AugmentProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t images = 1;  // that are resident
  std::int64_t n = 1, h = 1, w = 1, c = 1;

  static constexpr std::int64_t parameters = 8;
  Shape x_shape() const { return {n, h, w, c}; }
  void check() const;
};
static_assert(sizeof(ResampleParameters) == AugmentProblem::parameters * sizeof(double));

/// Clamped to 0..most; NaN becomes 0.
SIMT_BOTH double clamp_coordinate(double value, double most) {
  return !(value > 0) ? 0 : value > most ? most : value;
}

/// Where a pixel of the result comes from: the offsets of four pixels, in elements, and the way between them.
template <class Offset>
struct SourcePixel {
  Offset top_left, top_right, bottom_left, bottom_right;
  float fx, fy;
};

/// Offset holds the elements of an image.
template <class Offset>
SIMT_BOTH SourcePixel<Offset> source_of(const ResampleParameters& map, int x, int y, int height, int width,
                                        int channels) {
  const double in_x = clamp_coordinate(map.xx * x + map.xy * y + map.x0, width - 1.0);
  const double in_y = clamp_coordinate(map.yx * x + map.yy * y + map.y0, height - 1.0);
  const int left = static_cast<int>(in_x), top = static_cast<int>(in_y);
  const int right = left + 1 < width ? left + 1 : width - 1, bottom = top + 1 < height ? top + 1 : height - 1;
  const Offset above = static_cast<Offset>(top) * width, below = static_cast<Offset>(bottom) * width;
  return {(above + left) * channels,  (above + right) * channels,      (below + left) * channels,
          (below + right) * channels, static_cast<float>(in_x - left), static_cast<float>(in_y - top)};
}

/// The level of one channel there, 0..255.
template <class Offset>
SIMT_BOTH int level_of(const std::uint8_t* image, const SourcePixel<Offset>& from, int channel, float gain,
                       float offset) {
  const int a = image[from.top_left + channel], b = image[from.top_right + channel];
  const int c = image[from.bottom_left + channel], d = image[from.bottom_right + channel];
  const float above = static_cast<float>(a) + from.fx * static_cast<float>(b - a);
  const float below = static_cast<float>(c) + from.fx * static_cast<float>(d - c);
  const float value = gain * (above + from.fy * (below - above)) + offset;
  return static_cast<int>((!(value > 0) ? 0.0F : value > 255.0F ? 255.0F : value) + 0.5F);
}

SIMT_BOTH double normalised(int level, double mean, double deviation) {
  return (static_cast<double>(level) / 255 - mean) / deviation;
}

/// Ports: images (images,h,w,c; u8), index (n, i64: which of the images each sample takes; -1: the sample lacks
/// the modality, its pixels are 0), params (n,8; f64), normalise (c,2; f64: mean, deviation), x (n,h,w,c).
/// Other indices are an Error where the host reads them, NaN on a device.
extern const PrimitiveOf<AugmentProblem> augment_forward;

}  // namespace fovea
