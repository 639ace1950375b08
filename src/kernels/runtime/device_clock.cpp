// See device_clock.hpp.
#include "kernels/runtime/device_clock.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <utility>

namespace fovea {

// ---- events

int EventClock::begin(Stream stream) {
  const int number = static_cast<int>(spans_.size());
  Span& span = spans_.emplace_back();
  span.caller = open_;
  open_ = number;
  span.from.record(stream);
  return number;
}

void EventClock::end(int number, Stream stream) noexcept {
  Span& span = spans_[static_cast<std::size_t>(number)];
  open_ = span.caller;
  try {
    span.to.record(stream);
    span.ended = true;
  } catch (const std::exception&) {
    // The device is at its end; what failed there says so.
  }
}

DeviceTimes EventClock::read() {
  DeviceTimes times;
  times.self_seconds.resize(spans_.size());
  for (std::size_t i = 0; i < spans_.size(); ++i) {
    const Span& span = spans_[i];
    if (!span.ended) continue;
    const double seconds = Event::elapsed_ms(span.from, span.to) * 1e-3;
    times.self_seconds[i] += seconds;
    if (span.caller >= 0) times.self_seconds[static_cast<std::size_t>(span.caller)] -= seconds;
  }
  for (double& seconds : times.self_seconds) seconds = std::max(0.0, seconds);
  spans_.clear();
  open_ = -1;
  return times;
}

// ---- activity records

namespace {

// Seconds in which at least one of them ran: launches in two streams may overlap.
double covered(std::vector<std::pair<double, double>>& spans) {
  std::sort(spans.begin(), spans.end());
  double seconds = 0, until = -1e300;
  for (const auto& [begin, end] : spans) {
    seconds += std::max(0.0, end - std::max(begin, until));
    until = std::max(until, end);
  }
  return seconds;
}

}  // namespace

ActivityClock::ActivityClock(ActivitySource& source) : source_(source) {
  start();
  stop();
}

void ActivityClock::start() {
  source_.start();
  started_ = true;
}

void ActivityClock::stop() noexcept {
  if (started_) source_.stop();
  started_ = false;
}

int ActivityClock::begin(Stream) {
  source_.push(before_ + static_cast<std::uint64_t>(count_));
  return count_++;
}

void ActivityClock::end(int, Stream) noexcept { source_.pop(); }

DeviceTimes ActivityClock::read() {
  DeviceTimes times;
  times.self_seconds.resize(static_cast<std::size_t>(count_));
  std::map<int, std::vector<std::pair<double, double>>> spans;
  for (ActivitySource::Record& record : source_.take()) {
    DeviceWork& work = times.work.emplace_back();
    work.name = std::move(record.name);
    work.begin_s = record.begin_s;
    work.seconds = record.end_s - record.begin_s;
    const bool ours =
        record.id && *record.id >= before_ && *record.id - before_ < static_cast<std::uint64_t>(count_);
    if (!ours) continue;
    work.dispatch = static_cast<int>(*record.id - before_);
    spans[work.dispatch].emplace_back(record.begin_s, record.end_s);
  }
  for (auto& [dispatch, of_it] : spans)
    times.self_seconds[static_cast<std::size_t>(dispatch)] = covered(of_it);
  std::stable_sort(times.work.begin(), times.work.end(),
                   [](const DeviceWork& a, const DeviceWork& b) { return a.begin_s < b.begin_s; });
  before_ += static_cast<std::uint64_t>(count_);
  count_ = 0;
  return times;
}

}  // namespace fovea
