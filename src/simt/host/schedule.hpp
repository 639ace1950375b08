// Which fiber runs next.
#pragma once

#include "simt/host/executor.hpp"

namespace simt::detail {

/// The next fiber that can run, seen from this lane of this warp, in the cluster's order; null: none can.
Fiber* next_ready(Cluster& cluster, const Warp& from, unsigned lane);

/// OS threads that run clusters: SIMT_WORKERS, or as many as the machine has cores.
unsigned workers_from_environment();

}  // namespace simt::detail
