// What a device itself says of its work: CUPTI's activity records where the build has its headers and the machine its library,
// which is loaded when it is asked for (activity_cupti.cpp); elsewhere none (activity_none.cpp).
#pragma once

#include <memory>
#include <string>

#include "kernels/runtime/device_clock.hpp"

namespace fovea {

/// Null where there are no records, for the reason that `why` gets.
ActivitySource* device_activity(std::string& why);

/// Activity records where they are to be had, else events; null for the host. `why_events`, where given, gets why a device has
/// no records, or nothing.
std::unique_ptr<DeviceClock> best_device_clock(Device device, std::string* why_events = nullptr);

}  // namespace fovea
