// Which fiber runs next.
#pragma once

#include "simt/host/executor.hpp"

namespace simt::detail {

/// The next fiber that can run, seen from this lane of this warp, in the cluster's order; null: none can.
Fiber* next_ready(Cluster& cluster, const Warp& from, unsigned lane);

}  // namespace simt::detail
