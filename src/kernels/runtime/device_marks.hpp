// DeviceMarks: points in the work of a device's streams, to be read as times when the work is done. What a profile of
// a device is made of, since there the host's clock says when a kernel was asked for, not when it ran.
#pragma once

#include <deque>

#include "kernels/runtime/stream.hpp"

namespace fovea {

class DeviceMarks {
 public:
  /// Puts one behind the work that the stream has so far; its number.
  int put(Stream stream) {
    marks_.emplace_back(Device::cuda).record(stream);
    return static_cast<int>(marks_.size()) - 1;
  }
  /// Between two marks; waits for the later one.
  double seconds(int from, int to) const {
    return Event::elapsed_ms(marks_[static_cast<std::size_t>(from)], marks_[static_cast<std::size_t>(to)]) *
           1e-3;
  }
  /// All marks go; numbers begin at 0 again.
  void clear() { marks_.clear(); }

 private:
  std::deque<Event> marks_;
};

}  // namespace fovea
