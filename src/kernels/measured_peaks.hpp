// Measured ceilings of the host and of a device: who times what, and when the file of them will do.
#pragma once

#include <optional>
#include <string>

#include "kernels/runtime/peaks.hpp"

namespace fovea {

/// Who is measured, without rates: what a file must be of.
Peaks machine_of_peaks(Device device);

/// Measures, with OpenMP's number of threads, in one to three seconds. The host: a copy and a triad of 256 MiB, matrix
/// products of f32 and, where the processor has it, bf16 by oneDNN; of f64, which oneDNN does not multiply, a
/// multiply-add loop in registers. A device: the driver's copy, an addition, and the fastest kernel of linear.forward in
/// each type. An emulated device is as slow as a few arrays of a MiB tell.
Peaks measure_peaks(Device device);

/// Those of the file; measured, and the file written, where there is none, it cannot be used, or `again`. `say` gets a
/// sentence for what goes on, or for why the file was of no use.
Peaks peaks_of(Device device, bool again, void (*say)(const std::string&));

/// Those of the file; nothing where there are none, or where they cannot be used: `complaint` then says why.
std::optional<Peaks> peaks_on_file(Device device, std::string& complaint);

}  // namespace fovea
