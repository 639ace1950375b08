// augment, plain loops: the definition.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/augment/kernels.hpp"

namespace fovea {
namespace {

template <class T>
void resample(const AugmentProblem& p, const std::uint8_t* image, const ResampleParameters& map,
              const double* rules, T* x) {
  const int height = static_cast<int>(p.h), width = static_cast<int>(p.w), channels = static_cast<int>(p.c);
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      const auto from = source_of<int>(map, column, row, height, width, channels);
      for (int k = 0; k < channels; ++k) {
        const int level =
            level_of(image, from, k, static_cast<float>(map.gain), static_cast<float>(map.offset));
        *x++ = static_cast<T>(normalised(level, rules[2 * k], rules[2 * k + 1]));
      }
    }
  }
}

}  // namespace

void augment_forward_reference(const AugmentProblem& p, Ports ports, Stream) {
  const std::int64_t* index = ports[1].as<std::int64_t>();
  const std::int64_t size = p.h * p.w * p.c;
  for (std::int64_t n = 0; n < p.n; ++n) {
    if (index[n] < -1 || index[n] >= p.images)
      fail(fmt::format("augment: sample {} takes image {} of {}", n, index[n], p.images));
  }
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t n = 0; n < p.n; ++n) {
      T* x = ports[4].as<T>() + n * size;
      if (index[n] < 0) {
        std::fill_n(x, size, T(0));
      } else {
        resample(p, ports[0].as<std::uint8_t>() + index[n] * size, resample_rows(ports[2])[n],
                 ports[3].as<double>(), x);
      }
    }
  });
}

}  // namespace fovea
