// Pictures of made-up eyes: a fundus photograph from a cup-to-disc ratio, a B-scan from a nerve-fibre-layer
// thickness.
#pragma once

#include <cstdint>

#include "data/image.hpp"
#include "data/rng.hpp"

namespace fovea::synthetic {

/// A stream of random numbers of its own for every (item, part): see PhiloxStream.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint32_t item, std::uint32_t part)
      : stream_(seed, Purpose::synthetic, item, part) {}

  std::uint32_t below(std::uint32_t n) { return stream_.below(n); }
  float uniform(float low = 0, float high = 1) { return static_cast<float>(stream_.uniform(low, high)); }
  float normal(float mean = 0, float deviation = 1) {
    return static_cast<float>(mean + deviation * stream_.normal());
  }

 private:
  PhiloxStream stream_;
};

/// RGB, size x size, centred on the optic disc (about 40 % of the width) as on a photograph of that eye: the
/// macula lies to the left of a right eye's disc. `person` decides what both eyes share (pigment, size of the
/// disc), `eye` the rest.
Image draw_fundus(float cup_to_disc, bool left_eye, int size, Draws person, Draws eye);

/// The box around the optic disc of that photograph, in whole pixels; what it takes must be draw_fundus's.
Box disc_box(float cup_to_disc, bool left_eye, int size, Draws person, Draws eye);

/// Grey, size x size: one B-scan through the macula, nasal side to the right in a right eye. nerve_fibre:
/// thickness of the nerve-fibre layer as a part of the healthy one. offset in -1..1: place in the volume, 0
/// through the foveal pit. `volume` decides what all scans of a volume share, `scan` the speckle.
Image draw_b_scan(float nerve_fibre, float offset, bool left_eye, int size, Draws volume, Draws scan);

}  // namespace fovea::synthetic
