// What dispatch() asks about the red zones of debug mode. See debug.hpp.
#pragma once

#include <string>

#include "kernels/runtime/view.hpp"

namespace fovea {

/// "byte 3 after the end of its 64 bytes", of the Storage that the view lies in; empty where all is well or the
/// Storage has no zones.
std::string red_zone_damage(const View& view);

/// The same of a Storage that was given back since the last call (scratch of a kernel).
std::string take_damage_of_freed();

}  // namespace fovea
