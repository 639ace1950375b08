// DeviceClock: what dispatches took on a device, by its own clock; on the host's, one reads when a kernel was asked for, not
// when it ran. What a profile of a device is made of.
//
// Two of them. EventClock puts an event of the stream before and behind each dispatch: it is there on every device, and
// counts the gaps between the launches of one dispatch, and the wait for a host that is slower than the device, as its work.
// ActivityClock reads what the device itself says of every kernel, copy and fill that ran (kernels/cuda/device_activity.hpp),
// so a dispatch took what its launches took, gaps are nobody's, and a trace can name what ran.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "kernels/runtime/stream.hpp"

namespace fovea {

/// One kernel, copy or fill that a device ran.
struct DeviceWork {
  std::string name;
  int dispatch = -1;                // whose it was; -1: nobody's, as uploads between dispatches
  double begin_s = 0, seconds = 0;  // on the steady clock of the host
};

struct DeviceTimes {
  std::vector<double> self_seconds;  // by the numbers of dispatches, without what they called
  std::vector<DeviceWork> work;      // as it began; empty where the clock does not see it
};

class DeviceClock {
 public:
  virtual ~DeviceClock() = default;
  /// For people: "CUDA events".
  virtual const char* name() const = 0;
  /// Whether read() says what ran.
  virtual bool sees_work() const = 0;
  /// Around a step: what comes in between is timed, and nothing else.
  virtual void start() {}
  virtual void stop() noexcept {}
  /// Before a dispatch: its number, from 0 on since the last read(). Dispatches nest as kernels call others.
  virtual int begin(Stream stream) = 0;
  /// Behind it, or while what it threw passes by.
  virtual void end(int number, Stream stream) noexcept = 0;
  /// Of all that ended, once the device is done with them; numbers then begin anew.
  virtual DeviceTimes read() = 0;
};

class EventClock : public DeviceClock {
 public:
  const char* name() const override { return "CUDA events"; }
  bool sees_work() const override { return false; }
  int begin(Stream stream) override;
  void end(int number, Stream stream) noexcept override;
  DeviceTimes read() override;

 private:
  struct Span {
    Event from{Device::cuda}, to{Device::cuda};
    int caller = -1;
    bool ended = false;
  };
  std::deque<Span> spans_;
  int open_ = -1;  // the innermost
};

/// What a device says of its work. Launches of a graph are of the number under which the graph was launched.
class ActivitySource {
 public:
  struct Record {
    std::string name;                 // of a kernel its demangled name; "copy host to device", "fill"
    std::optional<std::uint64_t> id;  // the number on top when the host asked for it
    double begin_s = 0, end_s = 0;    // on the steady clock of the host
  };
  virtual ~ActivitySource() = default;
  /// Collects until stop(), which forgets what was not taken.
  virtual void start() = 0;
  virtual void stop() noexcept = 0;
  /// What this thread asks for until pop() is of this number.
  virtual void push(std::uint64_t id) = 0;
  virtual void pop() noexcept = 0;
  /// All that is done by now and was not taken yet: the caller synchronizes first. Error where records were lost.
  virtual std::vector<Record> take() = 0;
};

class ActivityClock : public DeviceClock {
 public:
  /// Error where the source cannot collect. It must outlive the clock and have no other.
  explicit ActivityClock(ActivitySource& source);
  ~ActivityClock() override { stop(); }
  ActivityClock(const ActivityClock&) = delete;
  ActivityClock& operator=(const ActivityClock&) = delete;

  const char* name() const override { return "CUPTI's activity records"; }
  bool sees_work() const override { return true; }
  void start() override;
  void stop() noexcept override;
  int begin(Stream stream) override;
  void end(int number, Stream stream) noexcept override;
  DeviceTimes read() override;

 private:
  ActivitySource& source_;
  std::uint64_t before_ = 0;  // dispatches that earlier reads were of
  int count_ = 0;
  bool started_ = false;
};

}  // namespace fovea
