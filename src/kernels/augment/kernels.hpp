// The kernels of augment, for its table, and the arithmetic of a pixel that they share.
#pragma once

#include "kernels/augment/augment.hpp"
#include "simt/world.hpp"

namespace fovea {

/// Clamped to 0..most; NaN becomes 0.
SIMT_BOTH double within(double value, double most) { return !(value > 0) ? 0 : value > most ? most : value; }

/// Where a pixel of the result comes from: the offsets of four pixels, and the way between them.
struct SourcePixel {
  int top_left, top_right, bottom_left, bottom_right;  // in elements
  float fx, fy;
};

SIMT_BOTH SourcePixel source_of(const double* map, int x, int y, int height, int width, int channels) {
  const double in_x = within(map[0] * x + map[1] * y + map[2], width - 1.0);
  const double in_y = within(map[3] * x + map[4] * y + map[5], height - 1.0);
  const int left = static_cast<int>(in_x), top = static_cast<int>(in_y);
  const int right = left + 1 < width ? left + 1 : width - 1, bottom = top + 1 < height ? top + 1 : height - 1;
  return {(top * width + left) * channels,    (top * width + right) * channels,
          (bottom * width + left) * channels, (bottom * width + right) * channels,
          static_cast<float>(in_x - left),    static_cast<float>(in_y - top)};
}

/// The level of one channel there, 0..255.
SIMT_BOTH int level_of(const std::uint8_t* image, const SourcePixel& from, int channel, float gain,
                       float offset) {
  const int a = image[from.top_left + channel], b = image[from.top_right + channel];
  const int c = image[from.bottom_left + channel], d = image[from.bottom_right + channel];
  const float above = static_cast<float>(a) + from.fx * static_cast<float>(b - a);
  const float below = static_cast<float>(c) + from.fx * static_cast<float>(d - c);
  const float value = gain * (above + from.fy * (below - above)) + offset;
  return static_cast<int>((!(value > 0) ? 0.0F : value > 255.0F ? 255.0F : value) + 0.5F);
}

/// rule: mean and deviation of the channel.
SIMT_BOTH double normalised(int level, const double* rule) {
  return (static_cast<double>(level) / 255 - rule[0]) / rule[1];
}

void augment_forward_reference(const AugmentProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                     //
    void augment_forward_resample(const AugmentProblem&, Ports, Stream);  //
    bool supports_augment_forward_resample(const AugmentProblem&);)

}  // namespace fovea
