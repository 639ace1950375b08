// A profile as a Chrome trace: the JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open.
//
// Complete events ("ph": "X"), times in microseconds from the first one on, with the resolution of a nanosecond and
// rounded so that what nests in time nests in the file. Ranges and kernels of the host are one line, nested as they were
// called; a device's are told there by the time at which the host asked for them, with the device's own duration among the
// arguments. What the device ran, where its clock sees that, is a second line, in the device's own time.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/runtime/profile.hpp"

namespace fovea {

struct ChromeTraceSize {
  std::int64_t written = 0, left_out = 0;  // events; what is left out came last
};

/// Writes the file, whole or not at all, of at most so many bytes.
ChromeTraceSize write_chrome_trace(const std::string& path, const Profile& profile, std::int64_t most_bytes);

}  // namespace fovea
