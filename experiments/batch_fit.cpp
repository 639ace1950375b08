// See batch_fit.hpp.
#include "batch_fit.hpp"

#include <algorithm>

namespace fovea {

Batch first_of(const Batch& batch, std::int64_t samples) {
  const auto n = static_cast<std::size_t>(samples), all = batch.samples.size();
  Batch part = batch;
  part.samples.resize(n);
  part.labels.resize(n);
  for (Batch::Input& input : part.inputs) {
    input.values.resize(input.values.size() / all * n);
    input.present.resize(n);
    if (!input.raw.empty()) input.raw.resize(n);
  }
  return part;
}

std::int64_t largest_fitting_batch(std::int64_t failed, std::int64_t budget,
                                   const std::function<std::optional<std::int64_t>(std::int64_t)>& peak_of) {
  if (failed <= 1) return 0;
  const std::optional<std::int64_t> one = peak_of(1);
  if (!one) return 0;
  if (failed == 2) return 1;
  const std::optional<std::int64_t> two = peak_of(2);
  if (!two) return 1;
  std::int64_t fits = 2;
  const std::int64_t slope = std::max<std::int64_t>(*two - *one, 1);
  std::int64_t next = 1 + (budget - *one) / slope;
  for (int tries = 1; failed - fits > 1; ++tries) {
    next = std::clamp(next, fits + 1, failed - 1);
    const bool fitted = peak_of(next).has_value();
    (fitted ? fits : failed) = next;
    // The neighbour of what the line says settles the matter where the line is right; else halving does.
    next = tries == 1 ? (fitted ? fits + 1 : failed - 1) : (fits + failed) / 2;
  }
  return fits;
}

}  // namespace fovea
