// Augmentation: small changes of an image that leave its grade as it is, as a function of (seed, epoch,
// sample).
//
// What changes depends on what the picture is of:
//   fundus  flips, rotation, crop, brightness and contrast: a photograph has no fixed frame
//   oct     the left-right flip of the fundus (one eye, one mirror), a small shift, brightness and contrast;
//           no vertical flip, rotation or crop, since a B-scan has an up and its scale is a measurement
//   vf      nothing: every pixel is a place in the field
// Where a visual field is among the inputs the flips are left out: the upper field belongs to the lower
// retina, and all fields are those of right eyes.
#pragma once

#include <cstdint>

#include "data/image.hpp"
#include "kernels/augment/augment.hpp"

namespace fovea {

struct AugmentOptions {
  bool flips = true;     // left-right and up-down, each with probability one half
  double rotation = 15;  // degrees, drawn from -rotation..rotation
  double crop = 0.85;  // least part of each side that is kept, drawn from crop..1, anywhere inside the image
  double brightness = 0.1;  // factor drawn from 1 - brightness..1 + brightness
  double contrast = 0.1;    // likewise, about the image's mean
  double oct_shift = 0.05;  // of each side, drawn from -oct_shift..oct_shift
};

/// What was drawn for one sample. Defaults change nothing.
struct Augmentation {
  struct Tone {
    double brightness = 1, contrast = 1;
  };
  bool mirror = false, upside_down = false;
  double angle = 0;               // radians
  double crop = 1, x = 0, y = 0;  // part of the side; place from -1 (left, top) to 1
  double oct_x = 0, oct_y = 0;    // parts of the side
  Tone fundus, oct;
};

/// Always draws the same number of values in the same order, so switching one thing off changes nothing else.
/// UsageError: options out of range (rotation 0..180, crop in (0, 1], the others 0..1).
Augmentation draw_augmentation(const AugmentOptions& options, std::uint64_t seed, int epoch, int sample);

/// What a drawn augmentation does to images of this size, modality and mean pixel value; the identity for a vf.
ResampleParameters resample_parameters(const Augmentation& augmentation, Modality modality, int height,
                                       int width, double mean);

/// The mean over pixels and channels, 0 of no pixel.
double mean_of(const Image& image);

/// One bilinear resampling in pixel coordinates about the image's centre; beyond the border its nearest pixel
/// goes on. The identity copies.
Image augment(const Image& image, Modality modality, const Augmentation& augmentation);

}  // namespace fovea
