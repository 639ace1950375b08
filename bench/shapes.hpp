// The shapes at which docs/performance.md sets its floors and bars.
#pragma once

#include <vector>

#include "cases/case.hpp"
#include "kernels/ham/ham.hpp"

namespace fovea::bench {

/// As cases of the tests are, so that one harness serves both; "small" for a machine without a device.
inline std::vector<cases::PrimitiveCase> shapes(bool small) {
  struct Image {
    const char* label;
    std::int64_t n, side, c;
  };
  const std::vector<Image> images =
      small ? std::vector<Image>{{"N2 64@14", 2, 14, 64}, {"N1 256@14", 1, 14, 256}}
            : std::vector<Image>{
                  {"N32 256@56", 32, 56, 256}, {"N32 512@28", 32, 28, 512}, {"N32 512@14", 32, 14, 512}};
  std::vector<cases::PrimitiveCase> all;
  for (const Image& i : images) {
    const HamProblem ham{.n = i.n, .h = i.side, .w = i.side, .c = i.c, .hidden = i.c / 16};
    all.push_back(cases::make_case(ham_forward, i.label, ham));
    all.push_back(cases::make_case(ham_backward, i.label, ham));
  }
  return all;
}

}  // namespace fovea::bench
