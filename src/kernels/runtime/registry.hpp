// The list of primitives as the runtime sees it. src/kernels/primitives.cpp defines it (and nothing registers
// itself: static initialisers get lost at link time); declared here so that dispatch can resolve names
// without knowing ops.
#pragma once

#include <span>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

std::span<const Primitive* const> registered_primitives();

}  // namespace fovea
