// See profile.hpp.
#include "kernels/runtime/profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "kernels/runtime/clock.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/layer_scope.hpp"

namespace fovea {
namespace {

Cost minus(const Cost& a, const Cost& b) {
  return {std::max(0.0, a.flops - b.flops), std::max(0.0, a.bytes - b.bytes)};
}

void keep_shapes(ProfileEvent& event, Ports ports) {
  for (const View& port : ports) {
    if (!port || port.shape.rank() < 2) continue;
    event.shapes[static_cast<std::size_t>(event.shape_count++)] = port.shape;
    if (event.shape_count == static_cast<int>(event.shapes.size())) return;
  }
  if (event.shape_count > 0) return;
  const auto first = std::find_if(ports.begin(), ports.end(), [](const View& port) { return bool(port); });
  if (first != ports.end()) event.shapes[static_cast<std::size_t>(event.shape_count++)] = first->shape;
}

// What the time of a step goes to where no kernel runs.
const char* outside_kernels(RangeKind kind) {
  return kind == RangeKind::optimizer ? "optimizer" : kind == RangeKind::data ? "data" : "(framework)";
}

using RowKey = std::tuple<std::string, const Primitive*, const Kernel*>;

RowKey key_of(const ProfileEvent& event, ProfileBy by) {
  if (by == ProfileBy::layer) return {event.name, nullptr, nullptr};
  return {by == ProfileBy::layer_kernel ? event.name
          : by == ProfileBy::shape      ? shapes_text(event)
                                        : "",
          event.primitive, event.kernel};
}

constexpr const char* no_layer = "(no layer)";

void name_row(ProfileRow& row, const ProfileEvent& event, ProfileBy by) {
  if (by == ProfileBy::layer) {
    row.name = *event.name == '\0' ? no_layer : event.name;
  } else {
    row.name = event.primitive->name;
    row.kernel = event.kernel->name;
  }
  if (by == ProfileBy::layer || by == ProfileBy::layer_kernel) row.layer = event.name;
  if (by == ProfileBy::shape) row.shape = shapes_text(event);
}

void add_dtype(std::string& list, Dtype dtype) {
  const std::string name(name_of(dtype));
  if (list.find(name) == std::string::npos) list += (list.empty() ? "" : ", ") + name;
}

void add(ProfileRow& row, const ProfileEvent& event, const Peaks& peaks) {
  row.calls += 1;
  row.self_seconds += event.self_seconds;
  if (event.part == RangeKind::forward) row.forward_seconds += event.self_seconds;
  if (event.part == RangeKind::backward) row.backward_seconds += event.self_seconds;
  row.flops += event.self_cost.flops;
  row.bytes += event.self_cost.bytes;
  row.floor_seconds += peaks.floor_seconds(event.dtype, event.self_cost.flops, event.self_cost.bytes);
  add_dtype(row.dtype, event.dtype);
}

}  // namespace

std::string shapes_text(const ProfileEvent& event) {
  std::string text;
  for (int i = 0; i < event.shape_count; ++i)
    text += (i > 0 ? ", " : "") + to_string(event.shapes[static_cast<std::size_t>(i)]);
  return text;
}

Profile::Profile(Device device, std::unique_ptr<DeviceClock> clock)
    : device_(device), clock_(std::move(clock)) {
  if (device == Device::cuda && !clock_) clock_ = std::make_unique<EventClock>();
}

Profile::~Profile() {
  if (!open_) return;
  set_trace_sink(before_);
  if (clock_) clock_->stop();
}

void Profile::begin_step() {
  if (open_) fail("a profile's step begins before the one before has ended");
  if (device_ == Device::cuda) synchronize(device_);  // work of before is not this step's
  if (clock_) clock_->start();
  open_ = true;
  first_of_step_ = events_.size();
  before_ = set_trace_sink(this);
  enter(RangeKind::step, "step");
}

void Profile::end_step() {
  if (!open_) return;
  if (device_ == Device::cuda) synchronize(device_);
  const double end_s = now_s();
  while (ranges_.size() > 1) close(end_s);
  step_seconds_.push_back(close(end_s).seconds);
  set_trace_sink(before_);
  open_ = false;
  nested_.clear();
  if (!clock_) return;
  read_clock();
  clock_->stop();
}

void Profile::enter(RangeKind kind, const char* name) {
  const RangeKind around = ranges_.empty() ? RangeKind::step : ranges_.back().part;
  ProfileEvent& range = ranges_.emplace_back();
  range.kind = kind;
  range.part = kind == RangeKind::layer ? around : kind;
  range.name = name;
  range.depth = static_cast<int>(ranges_.size()) - 1;
  range.step = steps();
  range.begin_s = now_s();
}

void Profile::leave() {
  if (!ranges_.empty()) close(now_s());
}

ProfileEvent& Profile::close(double end_s) {
  ProfileEvent range = ranges_.back();
  ranges_.pop_back();
  range.seconds = end_s - range.begin_s;
  return events_.emplace_back(range);
}

void Profile::record(const TraceEvent& event) {
  const auto depth = static_cast<std::size_t>(event.depth);
  if (nested_.size() < depth + 2) nested_.resize(depth + 2);
  const char* const layer = current_layer();
  ProfileEvent& kept = events_.emplace_back();
  kept.primitive = event.primitive;
  kept.kernel = event.kernel;
  kept.name = layer == nullptr ? "" : layer;
  kept.depth = static_cast<int>(ranges_.size()) + event.depth;
  kept.step = steps();
  kept.called_by_kernel = event.depth > 0;
  kept.begin_s = event.begin_s;
  kept.seconds = event.seconds;
  kept.self_seconds = event.self_seconds;
  kept.cost = event.cost;
  kept.self_cost = minus(event.cost, nested_[depth + 1]);
  kept.dtype = event.primitive->dtype(event.problem);
  kept.device_number = event.device_number;
  kept.part = ranges_.back().part;
  keep_shapes(kept, event.ports);
  // What was called counts for its caller at least as much as it did itself.
  nested_[depth].flops += std::max(event.cost.flops, nested_[depth + 1].flops);
  nested_[depth].bytes += std::max(event.cost.bytes, nested_[depth + 1].bytes);
  nested_[depth + 1] = {};
}

// The clock numbers dispatches as they begin; events are in the order of their ends.
void Profile::read_clock() {
  DeviceTimes times = clock_->read();
  std::vector<int> event_of(times.self_seconds.size(), -1);
  for (std::size_t i = first_of_step_; i < events_.size(); ++i) {
    const int number = events_[i].device_number;
    if (events_[i].primitive == nullptr || number < 0) continue;
    events_[i].self_seconds = times.self_seconds[static_cast<std::size_t>(number)];
    event_of[static_cast<std::size_t>(number)] = static_cast<int>(i);
  }
  for (DeviceWork& work : times.work) {
    if (work.dispatch >= 0) work.dispatch = event_of[static_cast<std::size_t>(work.dispatch)];
    work_.push_back(std::move(work));
  }
}

double Profile::step_seconds() const {
  if (step_seconds_.empty()) return 0;
  return std::accumulate(step_seconds_.begin(), step_seconds_.end(), 0.0) / steps();
}

double Profile::seconds_in(RangeKind kind) const {
  double seconds = 0;
  for (const ProfileEvent& event : events_)
    if (event.primitive == nullptr && event.kind == kind) seconds += event.seconds;
  return steps() > 0 ? seconds / steps() : 0;
}

double Profile::flops() const {
  double flops = 0;
  for (const ProfileEvent& event : events_)
    if (event.primitive != nullptr && !event.called_by_kernel) flops += event.cost.flops;
  return steps() > 0 ? flops / steps() : 0;
}

int Profile::median_step() const {
  std::vector<int> order(step_seconds_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return step_seconds_[static_cast<std::size_t>(a)] < step_seconds_[static_cast<std::size_t>(b)];
  });
  return order.empty() ? 0 : order[order.size() / 2];
}

// The host's time in ranges of a kind outside kernels. Events are in the order of their ends, so those within a range stand
// right before it.
double Profile::self_seconds_of(RangeKind kind) const {
  double seconds = 0;
  for (std::size_t i = 0; i < events_.size(); ++i) {
    const ProfileEvent& range = events_[i];
    if (range.primitive != nullptr || range.kind != kind) continue;
    seconds += range.seconds;
    for (std::size_t j = i; j-- > 0 && events_[j].begin_s >= range.begin_s;)
      if (events_[j].primitive != nullptr && !events_[j].called_by_kernel) seconds -= events_[j].seconds;
  }
  return seconds / steps();
}

std::vector<ProfileRow> Profile::rows(ProfileBy by, const Peaks& peaks) const {
  if (steps() == 0) return {};
  std::map<RowKey, ProfileRow> found;
  for (const ProfileEvent& event : events_) {
    if (event.primitive == nullptr) continue;
    const RowKey key = key_of(event, by);
    ProfileRow& row = found[key];
    if (row.name.empty()) name_row(row, event, by);
    add(row, event, peaks);
  }
  for (const DeviceWork& work : work_)
    if (work.dispatch >= 0) found[key_of(events_[static_cast<std::size_t>(work.dispatch)], by)].launches += 1;
  std::vector<ProfileRow> rows;
  double in_kernels = 0;
  for (auto& [key, row] : found) {
    for (double* sum : {&row.calls, &row.self_seconds, &row.forward_seconds, &row.backward_seconds,
                        &row.flops, &row.bytes, &row.launches, &row.floor_seconds})
      *sum /= steps();
    in_kernels += row.self_seconds;
    rows.push_back(std::move(row));
  }
  double outside = step_seconds() - in_kernels;
  for (const RangeKind kind : {RangeKind::optimizer, RangeKind::data, RangeKind::step}) {
    ProfileRow row;
    row.name = outside_kernels(kind);
    row.in_kernels = false;
    row.calls = 1;
    row.self_seconds = std::max(0.0, kind == RangeKind::step ? outside : self_seconds_of(kind));
    outside -= row.self_seconds;
    rows.push_back(std::move(row));
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.self_seconds > b.self_seconds; });
  return rows;
}

}  // namespace fovea
