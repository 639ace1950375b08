// Which device can be used. See device.hpp.
#include "kernels/runtime/device.hpp"

#include <fmt/format.h>

#include "kernels/runtime/device_memory.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

bool cuda_available(std::string* why_not) {
  const std::string reason = why_no_device();
  if (why_not != nullptr) *why_not = reason;
  return reason.empty();
}

Device resolve_device(std::string_view name) {
  if (name == "auto") return Device::cpu;  // until every op has a kernel on the device, auto is the CPU
  const Device device = parse_device(name);
  std::string reason;
  if (device == Device::cuda && !cuda_available(&reason)) fail(fmt::format("{}; use --device cpu", reason));
  return device;
}

}  // namespace fovea
