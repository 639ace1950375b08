// viridis (van der Walt and Smith, matplotlib), a colour map of even lightness that colour-blind readers can
// follow, by M. Zucker's polynomial of the sixth degree (public domain), within four levels of 255.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace fovea {

/// RGB of a value; 0 and below is dark violet, 1 and above yellow.
inline std::array<std::uint8_t, 3> viridis(double value) {
  constexpr double c[7][3] = {{0.2777273272234177, 0.005407344544966578, 0.3340998053353061},
                              {0.1050930431085774, 1.404613529898575, 1.384590162594685},
                              {-0.3308618287255563, 0.214847559468213, 0.09509516302823659},
                              {-4.634230498983486, -5.799100973351585, -19.33244095627987},
                              {6.228269936347081, 14.17993336680509, 56.69055260068105},
                              {4.776384997670288, -13.74514537774601, -65.35303263337234},
                              {-5.435455855934631, 4.645852612178535, 26.3124352495832}};
  const double t = std::clamp(value, 0.0, 1.0);
  std::array<std::uint8_t, 3> rgb{};
  for (int k = 0; k < 3; ++k) {
    double sum = 0;
    for (int i = 6; i >= 0; --i) sum = sum * t + c[i][k];
    rgb[static_cast<std::size_t>(k)] = static_cast<std::uint8_t>(std::clamp(255 * sum + 0.5, 0.0, 255.0));
  }
  return rgb;
}

}  // namespace fovea
