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

std::string picture_bytes(const Image& picture, int side) {
  constexpr std::size_t short_enough = 24 << 10;  // a page of eight mistakes then stays below a megabyte
  const int longest = std::max(picture.height, picture.width);
  if (longest > side) {
    const auto scaled = [&](int length) { return std::max(1, length * side / longest); };
    return picture_bytes(resize(picture, scaled(picture.height), scaled(picture.width)), side);
  }
  std::string png = png_bytes(picture);
  return png.size() <= short_enough ? png : jpeg_bytes(picture, 88);
}

}  // namespace fovea
