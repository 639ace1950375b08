// See device_activity.hpp.
#include "kernels/cuda/device_activity.hpp"

#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

std::unique_ptr<DeviceClock> best_device_clock(Device device, std::string* why_events) {
  if (device == Device::cpu) return nullptr;
  std::string why;
  ActivitySource* source = nullptr;
  if (!device_note().empty()) {
    why = "an emulated device keeps no records";
  } else {
    source = device_activity(why);
  }
  std::unique_ptr<DeviceClock> clock;
  if (source != nullptr) {
    try {
      clock = std::make_unique<ActivityClock>(*source);
    } catch (const Error& error) {  // as where another profiler is there already
      why = error.what();
    }
  }
  if (why_events != nullptr) *why_events = why;
  if (!clock) clock = std::make_unique<EventClock>();
  return clock;
}

}  // namespace fovea
