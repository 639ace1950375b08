// The worst mistakes of an outcome with what the network saw of them, for a report.
#pragma once

#include <vector>

#include "batches.hpp"
#include "eval/report.hpp"

namespace fovea {

/// The at most `count` samples that are wrong with the highest confidence, with a picture of each modality they have
/// (of an OCT volume the middle one of the slices that the network takes). Error, naming the file, where an image
/// cannot be read any more.
std::vector<Mistake> worst_mistakes(const Outcome& outcome, const Dataset& dataset, const InputSpec& spec,
                                    std::size_t count = 8);

}  // namespace fovea
