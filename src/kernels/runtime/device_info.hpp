// What the driver says about the device, and what that means for a user: pure functions of recorded answers, so
// that every sentence is tested on machines without a device.
#pragma once

#include <cstdint>
#include <string>

namespace fovea {

/// The answer to "is there a device, and which". Versions are CUDA's integers: 12040 is 12.4.
struct DriverAnswer {
  bool built_with_cuda = true;
  int status = 0;           // of counting the devices, or of asking for the first one's properties
  std::string status_text;  // the driver's own words for it
  int devices = 0;
  int driver_version = 0;   // newest CUDA that the driver can run; 0: no driver
  int runtime_version = 0;  // of the toolkit that this build was made with
  std::string name;
  int major = 0, minor = 0;  // compute capability
};

/// Empty where the device can be used, else one sentence.
std::string why_unusable(const DriverAnswer& answer);

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;
  int driver_version = 0, runtime_version = 0;
  int multiprocessors = 0;
  int clock_khz = 0, memory_clock_khz = 0, memory_bus_bits = 0;
  std::int64_t shared_bytes_per_block = 0;  // the most that a kernel can opt in to
  std::int64_t l2_bytes = 0;
  std::int64_t memory_bytes = 0;
};

/// The first device; Error where there is none.
const DeviceInfo& device_info();

/// Empty, or "emulated on the host executor".
std::string device_note();

/// "NVIDIA H100 (compute capability 9.0, 132 multiprocessors at 1980 MHz, ...)": a line for records.
std::string to_string(const DeviceInfo& info);

/// "12.4"
std::string cuda_version_text(int version);

}  // namespace fovea
