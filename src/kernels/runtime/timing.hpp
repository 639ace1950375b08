// Timing as docs/performance.md asks for it: a graph of many copies of one run, replayed many times between two
// events; the median replay, with the 10th and 90th percentile beside it.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "kernels/runtime/device.hpp"

namespace fovea {

struct Timing {
  double median_us = 0, p10_us = 0, p90_us = 0;  // of one run
  int copies = 0, replays = 0;
};

/// Of what was read the one that is nearest to this place; times are not interpolated.
double quantile(std::span<const double> sorted, double q);

struct TimingOptions {
  int copies = 20;   // runs in a graph
  int replays = 50;  // timed, after `warm_up` untimed ones
  int warm_up = 3;
  double limit_s = 20;  // fewer replays where they would take longer, never under 5
};

/// `run(i)` queues the i-th copy on the current stream of the device; i lets it rotate its buffers.
Timing time_runs(Device device, const std::function<void(int)>& run, const TimingOptions& options = {});

/// The same without a graph, for work that launches one itself: `copies` calls between two events. Where the device is
/// done before the host has called again, the host's time is in it.
Timing time_launches(Device device, const std::function<void(int)>& run, const TimingOptions& options = {});

/// Bytes per second of the best of several device-to-device (or host) copies of `bytes`, read + write.
double copy_ceiling(Device device, std::size_t bytes);

}  // namespace fovea
