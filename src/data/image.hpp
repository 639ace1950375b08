// Images: 8-bit pixels in memory, and the doors they come through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace fovea {

/// H,W,C with C = 1 (grey), 3 (RGB), or k (k OCT slices stacked by the loader).
struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;

  std::uint8_t* at(int y, int x) {
    return pixels.data() + (static_cast<std::size_t>(y) * width + x) * channels;
  }
  const std::uint8_t* at(int y, int x) const {
    return pixels.data() + (static_cast<std::size_t>(y) * width + x) * channels;
  }
};

Image make_image(int height, int width, int channels, std::uint8_t value = 0);

/// Decodes JPEG (grey, YCbCr, CMYK, YCCK) or PNG (any depth, palette, alpha over black, 16-bit taken to 8),
/// told apart by their first bytes, to `channels` (1 or 3). Throws Error naming the file: missing, truncated,
/// wrong magic, more than max_pixels. A JPEG's warning (premature end of data) is an error too.
inline constexpr std::int64_t max_pixels = 100'000'000;
Image read_image(const std::string& path, int channels = 3);

void write_png(const std::string& path, const Image& image);
void write_jpeg(const std::string& path, const Image& image, int quality = 92);

/// What the file would hold, in memory.
std::string png_bytes(const Image& image);
std::string jpeg_bytes(const Image& image, int quality = 92);

/// Equals Pillow's Image.resize(size, BILINEAR) on 8-bit images (antialiased: the triangle filter widens when
/// shrinking; horizontal pass first, rounded to 8 bits between the passes), at most one level off.
Image resize(const Image& image, int height, int width);
Image crop(const Image& image, const Box& box);  // Error where the box leaves the image
Image flip_horizontal(const Image& image);

}  // namespace fovea
