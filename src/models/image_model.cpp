// See image_model.hpp.
#include "models/image_model.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/error.hpp"

namespace fovea {

void ImageModel::check_input_size(std::int64_t height, std::int64_t width) const {
  if (height >= smallest_ && width >= smallest_) return;
  fail_usage(fmt::format(
      "{} cannot take images of {} x {} (height x width): each side must be at least {}; the nearest "
      "size that works is {} x {}",
      config_.name, height, width, smallest_, std::max(height, smallest_), std::max(width, smallest_)));
}

const Tensor& ImageModel::image_of(const ModelInput& input) const {
  if (input.images.size() != 1 || !input.images[0]) {
    fail(fmt::format("{} got {} images; it needs one", config_.name, input.images.size()));
  }
  const Tensor& image = input.images[0];
  const Shape& s = image.shape();
  if (s.rank() != 4 || s[0] < 1 || s[3] != 3) {
    fail(fmt::format("{} got an image of {}; it needs N,H,W,3", config_.name, to_string(s)));
  }
  if (image.dtype() != config_.dtype && (image.dtype() != Dtype::bf16 || config_.dtype != Dtype::f32)) {
    fail(fmt::format("{} of {} got an image of {}", config_.name, name_of(config_.dtype),
                     name_of(image.dtype())));
  }
  for (const std::vector<std::uint8_t>& present : input.present) {
    if (std::find(present.begin(), present.end(), 0) != present.end()) {
      fail(fmt::format("{} got a sample without its image", config_.name));
    }
  }
  check_input_size(s[1], s[2]);
  return image;
}

}  // namespace fovea
