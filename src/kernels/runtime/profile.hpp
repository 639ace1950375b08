// Profile: where the time of steps goes, by kernel, by layer or by problem, against the floors that measured ceilings
// set.
//
// A sink of the trace, installed from begin_step() to end_step(). It keeps one plain record of each kernel and each
// range, and adds up when it is asked: what a step pays for it is a clock read or two and a few stores for each kernel.
// On a device a kernel's time is read from a clock of the device (device_clock.hpp); on the host it is the host's. An
// emulated device's events are read from that clock too.
//
// A kernel that calls others (a composed one) counts alone what they do not: self time, and of the operations and bytes of
// its own Problem what the kernels it called did not already account for. So every row of a profile adds up, and
// nothing counts twice.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/runtime/device_clock.hpp"
#include "kernels/runtime/peaks.hpp"
#include "kernels/runtime/trace.hpp"

namespace fovea {

/// A kernel's run, or a range where `primitive` is null.
struct ProfileEvent {
  const Primitive* primitive = nullptr;
  const Kernel* kernel = nullptr;
  RangeKind kind = RangeKind::step;  // of a range
  const char* name = "";             // of a range; of a kernel its layer, empty where nobody said
  int depth = 0;                     // of nesting, ranges and kernels alike
  int step = 0;                      // counted from 0
  bool called_by_kernel = false;
  double begin_s = 0, seconds = 0;  // on the steady clock of the host
  double self_seconds = 0;          // of a kernel, on the clock of its device
  Cost cost, self_cost;
  Dtype dtype = Dtype::f32;
  std::array<Shape, 3> shapes;  // of its first ports that are more than vectors, or of the first one alone
  int shape_count = 0;
  int device_number = -1;            // with the device's clock
  RangeKind part = RangeKind::step;  // that it is in or is: data, forward, backward or optimizer, else step
};

/// "8x224x224x3, 64x3x3x3, 8x224x224x64"; of an op on vectors alone the first one's.
std::string shapes_text(const ProfileEvent& event);

/// What a row is of: a kernel; a layer, all its kernels; a kernel in one layer; a kernel on one problem.
enum class ProfileBy : std::uint8_t { kernel, layer, layer_kernel, shape };

/// Work of one kind, of one step on average.
struct ProfileRow {
  std::string name, kernel;  // the primitive's; of a layer's row its own and none
  std::string layer, shape;  // where rows are by them
  std::string dtype;         // "f32", or "f32, f64" where calls differ
  bool in_kernels = true;    // false for what is in none: "optimizer", "data", "(framework)"
  double calls = 0, self_seconds = 0, flops = 0, bytes = 0;
  double forward_seconds = 0, backward_seconds = 0;  // of the self time
  double launches = 0;  // kernels, copies and fills on a device whose clock sees them
  double floor_seconds = 0;
  double floor_share() const { return self_seconds > 0 ? floor_seconds / self_seconds : 0; }
  double flops_per_s() const { return self_seconds > 0 ? flops / self_seconds : 0; }
  double bytes_per_s() const { return self_seconds > 0 ? bytes / self_seconds : 0; }
};

class Profile : public TraceSink {
 public:
  /// Of a device with that clock, or with an EventClock.
  explicit Profile(Device device, std::unique_ptr<DeviceClock> clock = nullptr);
  ~Profile() override;
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// Error where a step is open already.
  void begin_step();
  /// Waits for the device.
  void end_step();

  void record(const TraceEvent& event) override;
  void enter(RangeKind kind, const char* name) override;
  void leave() override;
  DeviceClock* device_clock() override { return clock_.get(); }

  /// Whose clock self times of kernels are on, for people.
  const char* clock_name() const { return clock_ ? clock_->name() : "the host's clock"; }
  bool sees_device_work() const { return clock_ && clock_->sees_work(); }
  /// What the device ran, in all steps, as it began; empty where its clock does not see it. `dispatch` counts events().
  const std::vector<DeviceWork>& device_work() const { return work_; }
  int steps() const { return static_cast<int>(step_seconds_.size()); }
  /// Of all events, in the order in which they ended.
  const std::vector<ProfileEvent>& events() const { return events_; }
  /// Of each step, from begin_step() to end_step().
  const std::vector<double>& each_step() const { return step_seconds_; }
  double step_seconds() const;  // their mean
  /// Seconds of a step in ranges of this kind, the mean; those of layers overlap.
  double seconds_in(RangeKind kind) const;
  /// Operations of a step that were asked for: of kernels that no other kernel called.
  double flops() const;
  /// The step whose time is the median.
  int median_step() const;

  /// Longest first. Their self times add up to step_seconds(): what is in no kernel is in the rows "optimizer", "data" and
  /// "(framework)", all three of which are always there. Where a device works while the host does, they add up to more.
  std::vector<ProfileRow> rows(ProfileBy by, const Peaks& peaks) const;

 private:
  ProfileEvent& close(double end_s);
  void read_clock();
  double self_seconds_of(RangeKind kind) const;

  Device device_;
  TraceSink* before_ = nullptr;
  bool open_ = false;
  std::vector<ProfileEvent> events_;
  std::vector<ProfileEvent> ranges_;  // open ones, the outermost first
  std::vector<Cost> nested_;          // of the kernels called at each depth, since the last one above them
  std::vector<double> step_seconds_;
  std::size_t first_of_step_ = 0;  // among events_
  std::unique_ptr<DeviceClock> clock_;
  std::vector<DeviceWork> work_;
};

}  // namespace fovea
