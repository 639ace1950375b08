// How far a class activation map can be believed: whether its pixels move the class's probability, and where
// its energy lies.
//
//   deletion    pixels become the mean of the set (0 after normalisation), the map's highest first
//   insertion   pixels come back into a blurred image, the map's highest first
//   energy      sum of the map inside a region / sum of the map
//
// The first two as in Petsiuk et al., RISE (arXiv 1806.07421), the last as in Wang et al., Score-CAM (arXiv 1910.01279).
//
// Both curves are of the class's probability over the share of the pixels changed, 0 to 1, in equal steps; the
// score is the area under it by trapezoids, within 0..1. A map that matters deletes to a low area and inserts
// to a high one. The blur is a Gaussian of deviation 5/224 of the image's shorter side, at least one pixel
// (RISE's 5 pixels at 224), cut at three deviations, edges repeated.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/cam.hpp"
#include "models/zoo.hpp"

namespace fovea {

struct FaithfulnessOptions {
  int steps = 50;  // of each curve
  int batch = 8;   // changed images in a forward pass
};

struct Faithfulness {
  double insertion = 0, deletion = 0;
  std::vector<double> insertion_curve, deletion_curve;  // steps + 1 probabilities
};

/// Of one sample: `input` holds one row of every image. `changed` are the images that the map is of, by their
/// place in it (all of early fusion's); the others stay as they are. Error where map and images differ in size.
Faithfulness faithfulness(Model& model, const ModelInput& input, std::span<const std::size_t> changed,
                          const CamMap& map, std::int64_t target, const FaithfulnessOptions& options);

/// The pixels of a map from the highest on; of equals the earlier one first.
std::vector<std::size_t> ranked_pixels(const CamMap& map);

/// Mean of a curve by trapezoids over an abscissa of 0 to 1.
double area_under(std::span<const double> curve);

/// A region in the map's pixels, whose centres lie at i + 1/2: a box, or a circle where there is a radius.
struct MapRegion {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;  // corners; of a circle x0, y0 is the centre
  double radius = 0;
};

struct Energy {
  double share = 0;  // of the map's sum inside the region
  double area = 0;   // of the pixels inside: the share of a map that knows nothing
};

/// Pixels cut by a box's edge count by the part inside, those of a circle by their centres. What lies outside
/// the map counts for neither.
Energy energy_in(const CamMap& map, const MapRegion& region);

}  // namespace fovea
