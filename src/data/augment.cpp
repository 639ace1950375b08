// Augmentation. See augment.hpp.
//
// out(p) = tone( in(c + o + s R F (p - c)) ), with F the flips, R the rotation, s the part of the side that
// is kept, o the offset of the crop's centre and c the image's centre; tone(v) = b (m + k (v - m)), m the
// mean over pixels and channels.
#include "data/augment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "data/rng.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

ResampleParameters about_centre(int height, int width, double angle, double scale, bool mirror,
                                bool upside_down, double shift_x, double shift_y) {
  const double centre_x = (width - 1) / 2.0, centre_y = (height - 1) / 2.0;
  const double sine = angle == 0 ? 0 : std::sin(angle), cosine = angle == 0 ? 1 : std::cos(angle);
  const double flip_x = mirror ? -1 : 1, flip_y = upside_down ? -1 : 1;
  ResampleParameters map;
  map.xx = scale * cosine * flip_x;
  map.xy = -scale * sine * flip_y;
  map.yx = scale * sine * flip_x;
  map.yy = scale * cosine * flip_y;
  map.x0 = centre_x + shift_x - map.xx * centre_x - map.xy * centre_y;
  map.y0 = centre_y + shift_y - map.yx * centre_x - map.yy * centre_y;
  return map;
}

Image resample(const Image& image, const ResampleParameters& map) {
  Image out = make_image(image.height, image.width, image.channels);
  const auto gain = static_cast<float>(map.gain), offset = static_cast<float>(map.offset);
  for (int y = 0; y < out.height; ++y) {
    std::uint8_t* to = out.at(y, 0);
    for (int x = 0; x < out.width; ++x, to += out.channels) {
      const auto from = source_of<std::ptrdiff_t>(map, x, y, image.height, image.width, image.channels);
      for (int k = 0; k < image.channels; ++k)
        to[k] = static_cast<std::uint8_t>(level_of(image.pixels.data(), from, k, gain, offset));
    }
  }
  return out;
}

void check_options(const AugmentOptions& options) {
  const auto within = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value <= high))
      fail_usage(fmt::format("augment.{} is {}; it must be from {} to {}", name, value, low, high));
  };
  within("rotation", options.rotation, 0, 180);
  within("crop", options.crop, 0.01, 1);
  within("brightness", options.brightness, 0, 1);
  within("contrast", options.contrast, 0, 1);
  within("oct_shift", options.oct_shift, 0, 1);
}

}  // namespace

Augmentation draw_augmentation(const AugmentOptions& options, std::uint64_t seed, int epoch, int sample) {
  check_options(options);
  PhiloxStream random(seed, Purpose::augment, static_cast<std::uint32_t>(epoch),
                      static_cast<std::uint32_t>(sample));
  const auto symmetric = [&](double limit) { return limit * random.uniform(-1, 1); };
  Augmentation drawn;
  drawn.mirror = (random.uniform() < 0.5) && options.flips;
  drawn.upside_down = (random.uniform() < 0.5) && options.flips;
  drawn.angle = symmetric(options.rotation) * std::numbers::pi / 180;
  drawn.crop = 1 - (1 - options.crop) * random.uniform();
  drawn.x = symmetric(1);
  drawn.y = symmetric(1);
  drawn.fundus.brightness = 1 + symmetric(options.brightness);
  drawn.fundus.contrast = 1 + symmetric(options.contrast);
  drawn.oct_x = symmetric(options.oct_shift);
  drawn.oct_y = symmetric(options.oct_shift);
  drawn.oct.brightness = 1 + symmetric(options.brightness);
  drawn.oct.contrast = 1 + symmetric(options.contrast);
  return drawn;
}

double mean_of(const Image& image) {
  double sum = 0;
  for (const std::uint8_t value : image.pixels) sum += value;
  return sum / static_cast<double>(std::max<std::size_t>(image.pixels.size(), 1));
}

ResampleParameters resample_parameters(const Augmentation& drawn, Modality modality, int height, int width,
                                       double mean) {
  if (modality == Modality::vf) return {};
  const bool fundus = modality == Modality::fundus;
  const double room_x = width * (1 - drawn.crop) / 2, room_y = height * (1 - drawn.crop) / 2;
  ResampleParameters map = fundus ? about_centre(height, width, drawn.angle, drawn.crop, drawn.mirror,
                                                 drawn.upside_down, drawn.x * room_x, drawn.y * room_y)
                                  : about_centre(height, width, 0, 1, drawn.mirror, false,
                                                 drawn.oct_x * width, drawn.oct_y * height);
  const Augmentation::Tone& tone = fundus ? drawn.fundus : drawn.oct;
  map.gain = tone.brightness * tone.contrast;
  map.offset = tone.brightness * mean * (1 - tone.contrast);
  return map;
}

Image augment(const Image& image, Modality modality, const Augmentation& drawn) {
  if (modality == Modality::vf || image.pixels.empty()) return image;
  const ResampleParameters map =
      resample_parameters(drawn, modality, image.height, image.width, mean_of(image));
  return map.is_identity() ? image : resample(image, map);
}

}  // namespace fovea
