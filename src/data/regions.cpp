// See regions.hpp.
#include "data/regions.hpp"

#include <fmt/format.h>

#include <utility>

#include "data/image.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

bool leaves(const Box& box, int height, int width) {
  return box.width > 0 && (box.x < 0 || box.y < 0 || box.height < 1 || box.width > width - box.x ||
                           box.height > height - box.y);
}

std::string stray_mark(const Sample& sample, int height, int width) {
  const Box& disc = sample.disc;
  if (leaves(disc, height, width)) {
    return fmt::format("{}: the box of the disc, {} x {} at ({}, {}), leaves the photograph, {} x {} pixels",
                       sample.fundus, disc.width, disc.height, disc.x, disc.y, width, height);
  }
  if (sample.fovea && (sample.fovea->x > width || sample.fovea->y > height)) {
    return fmt::format("{}: the fovea at ({}, {}) lies outside the photograph, {} x {} pixels", sample.fundus,
                       sample.fovea->x, sample.fovea->y, width, height);
  }
  return "";
}

InputRegions regions_in_input(const Sample& sample, const InputSpec& spec) {
  if (sample.fundus.empty() || (sample.disc.width == 0 && !sample.fovea)) return {};
  const Image photograph = read_image(sample.fundus, 3);
  if (const std::string stray = stray_mark(sample, photograph.height, photograph.width); !stray.empty())
    fail(stray);
  const Box used = sample.roi.width > 0 ? sample.roi : Box{0, 0, photograph.width, photograph.height};
  const bool mirrored = spec.mirror_left_eyes && sample.eye == Eye::left;
  const auto place = [&](double x, double y) {
    const double in_x = (x - used.x) * spec.image_width / used.width;
    return Point{mirrored ? spec.image_width - in_x : in_x, (y - used.y) * spec.image_height / used.height};
  };
  InputRegions regions;
  if (const Box& disc = sample.disc; disc.width > 0) {
    Point a = place(disc.x, disc.y), b = place(disc.x + disc.width, disc.y + disc.height);
    if (mirrored) std::swap(a.x, b.x);
    regions.disc = {a.x, a.y, b.x, b.y};
  }
  if (sample.fovea) regions.fovea = place(sample.fovea->x, sample.fovea->y);
  return regions;
}

}  // namespace fovea
