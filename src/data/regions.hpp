// Where marked places of a photograph lie in what the network sees of it: after the crop, the resize and the
// mirroring that load_input makes.
#pragma once

#include <optional>
#include <string>

#include "data/dataset.hpp"
#include "data/loader.hpp"

namespace fovea {

/// Corners in pixels of the network's image: 0, 0 is its corner at the upper left. May reach out of it where
/// the crop cuts it.
struct Rectangle {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

struct InputRegions {
  std::optional<Rectangle> disc;
  std::optional<Point> fovea;
};

/// Empty where the sample has no photograph or no marks. Error, naming the file, where a mark leaves the photograph.
InputRegions regions_in_input(const Sample& sample, const InputSpec& spec);

/// Whether a box of the manifest leaves a photograph of this size; never one of width 0.
bool leaves(const Box& box, int height, int width);

/// The sentence for a mark of the sample that leaves a photograph of this size; empty where none does.
std::string stray_mark(const Sample& sample, int height, int width);

}  // namespace fovea
