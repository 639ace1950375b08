// The clock that traces, profiles and observers read.
#pragma once

#include <chrono>

namespace fovea {

/// Seconds on the steady clock.
inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace fovea
