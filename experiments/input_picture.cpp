// See input_picture.hpp.
#include "input_picture.hpp"

#include <algorithm>

namespace fovea {

std::vector<Image> input_pictures(const Image& input, Modality modality) {
  if (modality == Modality::fundus) return {input};
  std::vector<Image> pictures;
  for (int k = 0; k < input.channels; ++k) {
    Image& grey = pictures.emplace_back(make_image(input.height, input.width, 1));
    for (std::size_t i = 0; i < grey.pixels.size(); ++i)
      grey.pixels[i] =
          input.pixels[i * static_cast<std::size_t>(input.channels) + static_cast<std::size_t>(k)];
  }
  return pictures;
}

Image picture_of(const Image& image, Modality modality) {
  if (modality == Modality::fundus) return image;
  Image picture = make_image(image.height, image.width, 3);
  const std::size_t pixels = picture.pixels.size() / 3, channels = static_cast<std::size_t>(image.channels);
  for (std::size_t i = 0; i < pixels; ++i)
    std::fill_n(picture.pixels.begin() + static_cast<std::ptrdiff_t>(3 * i), 3,
                image.pixels[i * channels + channels / 2]);
  return picture;
}

Image shrunk(const Image& picture, int side) {
  const int longest = std::max(picture.height, picture.width);
  if (longest <= side) return picture;
  const auto scaled = [&](int length) { return std::max(1, length * side / longest); };
  return resize(picture, scaled(picture.height), scaled(picture.width));
}

std::string picture_bytes(const Image& picture, int side) {
  constexpr std::size_t short_enough = 24 << 10;  // a page of eight mistakes then stays below a megabyte
  const Image small = shrunk(picture, side);
  std::string png = png_bytes(small);
  return png.size() <= short_enough ? png : jpeg_bytes(small, 88);
}

}  // namespace fovea
