// Cases of augment: one pixel, one channel, vectors that begin within a pixel, sizes that no vector divides, more than
// one block per image; samples that lack the modality, images taken twice; maps that leave the image on every side,
// the identity, tone curves that reach both ends.
#pragma once

#include "cases/case.hpp"
#include "kernels/augment/augment.hpp"

namespace fovea::cases {

inline void prepare_augment(const AugmentProblem& p, PortTensors& ports) {
  for (std::int64_t i = 0; i < ports[0].numel(); ++i)
    ports[0].data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * i * 31 + i * 7 + i / 5);
  const double maps[][8] = {
      {0.83, -0.31, 0.7, 0.29, 0.87, -0.4, 1.07, -3.3},  // turned and cut
      {1, 0, 0, 0, 1, 0, 1, 0},                          // the identity
      {-1.3, 0.11, 20.3, 0.2, 1.7, -2.6, 0.8, 60.1},     // mirrored, beyond every side
      {1, 0, 0.25, 0, 1, -0.125, 2.3, -90.7},            // a shift
  };
  for (std::int64_t n = 0; n < p.n; ++n) {
    ports[1].data<std::int64_t>()[n] = n % 3 == 2 ? -1 : (n * 5 + 1) % p.images;
    for (std::int64_t k = 0; k < AugmentProblem::parameters; ++k)
      ports[2].data<double>()[n * AugmentProblem::parameters + k] = maps[(n + p.h + p.c) % 4][k];
  }
  for (std::int64_t k = 0; k < p.c; ++k) {
    ports[3].data<double>()[2 * k] = 0.4 + 0.01 * static_cast<double>(k);
    ports[3].data<double>()[2 * k + 1] = 0.2 + 0.02 * static_cast<double>(k);
  }
}

inline void augment_cases(std::vector<PrimitiveCase>& cases) {
  const std::vector<std::pair<const char*, AugmentProblem>> problems{
      {"one pixel", {.images = 2, .n = 2, .h = 1, .w = 1, .c = 1}},
      {"one row", {.images = 1, .n = 1, .h = 1, .w = 9, .c = 3}},
      {"fundus", {.images = 4, .n = 7, .h = 16, .w = 20, .c = 3}},
      {"odd", {.images = 3, .n = 4, .h = 11, .w = 13, .c = 3}},
      {"vf", {.images = 2, .n = 2, .h = 12, .w = 12, .c = 1}},
      {"5 slices", {.images = 2, .n = 2, .h = 24, .w = 16, .c = 5}},
      {"17 slices: more channels than a vector", {.images = 2, .n = 1, .h = 8, .w = 7, .c = 17}},
  };
  for (const auto& [label, p] : problems)
    cases.push_back(make_case<AugmentProblem>(augment_forward, label, p, prepare_augment));
}

}  // namespace fovea::cases
