// The one list of all primitives: tests, benchmarks and `fovea kernels` walk it.
#pragma once

#include <span>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// Grouped by op, forward before backward.
std::span<const Primitive* const> all_primitives();

/// Throws UsageError with the nearest names where there is none of this name ("conv2d.forward").
const Primitive& find_primitive(std::string_view name);

}  // namespace fovea
