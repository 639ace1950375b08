// Cases of cast: every pair of floating types, counts that no vector divides, values between two of the narrower type.
#pragma once

#include "cases/case.hpp"
#include "kernels/cast/cast.hpp"

namespace fovea::cases {

inline void cast_cases(std::vector<PrimitiveCase>& cases) {
  for (const Dtype from : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
    for (const std::int64_t count : {0, 1, 7, 64, 8191, 20011}) {
      const std::string label = std::to_string(count) + " elements from " + std::string(name_of(from));
      cases.push_back(make_case(cast_forward, label, CastProblem{.from = from, .count = count}));
    }
  }
}

}  // namespace fovea::cases
