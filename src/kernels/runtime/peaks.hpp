// Peaks: the measured ceilings of this machine, against which rates are reported.
#pragma once

namespace fovea {

struct Peaks {
  double copy_bytes_per_s = 0;  // read + write, arrays far larger than the last-level cache
  double f32_flops = 0;         // dense matrix product, all threads
};

/// Measured on the first call of a process (about 0.3 s), then remembered.
const Peaks& measured_peaks();

}  // namespace fovea
