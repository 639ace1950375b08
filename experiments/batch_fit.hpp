// The largest batch that fits into memory, for the error of a training step that did not fit.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "data/loader.hpp"

namespace fovea {

/// The first `samples` of a batch.
Batch first_of(const Batch& batch, std::int64_t samples);

/// `peak_of(n)` runs a step of n samples and returns its peak memory in bytes, nothing where it does not fit. A
/// batch of `failed` does not. Batches of 1 and 2 give a line, which says where to look in a budget of bytes; what
/// it says is then tried, since kernels change their ways with the size. 0: not even one sample fits.
std::int64_t largest_fitting_batch(std::int64_t failed, std::int64_t budget,
                                   const std::function<std::optional<std::int64_t>(std::int64_t)>& peak_of);

}  // namespace fovea
