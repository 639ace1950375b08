// dispatch(): port checks, the run, debug checks, observers and trace. See primitive.hpp; the choice of a kernel is in
// choice.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/runtime/clock.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/device_clock.hpp"
#include "kernels/runtime/launch.hpp"
#include "kernels/runtime/observed.hpp"
#include "kernels/runtime/primitive.hpp"
#include "kernels/runtime/running.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/trace.hpp"

namespace fovea {
namespace {

[[noreturn]] void fail_port(const Primitive& primitive, const PortSpec& spec, const std::string& what) {
  fail(fmt::format("{}: port '{}' {}", primitive.name, spec.name, what));
}

void check_ports(const Primitive& primitive, const PortList& specs, Ports ports, Device device) {
  if (ports.size() != specs.size()) {
    fail(fmt::format("{}: got {} ports, needs {}", primitive.name, ports.size(), specs.size()));
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const PortSpec& spec = specs[i];
    const View& view = ports[i];
    if (!view) {
      if (!spec.optional && spec.shape.numel() > 0) fail_port(primitive, spec, "is missing");
      continue;
    }
    if (view.shape != spec.shape) {
      fail_port(primitive, spec,
                fmt::format("has shape {}, needs {}", to_string(view.shape), to_string(spec.shape)));
    }
    if (view.dtype != spec.dtype) {
      fail_port(primitive, spec, fmt::format("holds {}, needs {}", name_of(view.dtype), name_of(spec.dtype)));
    }
    if (view.device != device) {
      fail_port(primitive, spec,
                fmt::format("lies on {}, the others on {}", name_of(view.device), name_of(device)));
    }
  }
}

Device device_of_ports(Ports ports) {
  const auto present = std::find_if(ports.begin(), ports.end(), [](const View& v) { return bool(v); });
  return present == ports.end() ? Device::cpu : present->device;
}

TraceSink* sink = nullptr;
thread_local double nested_seconds = 0;  // spent in dispatches called by the running kernel
thread_local int depth = 0;

/// A kernel that throws leaves the calls around it as deep as they were.
struct Nested {
  const double outer = std::exchange(nested_seconds, 0);
  Nested() { ++depth; }
  ~Nested() {
    --depth;
    nested_seconds = outer + seconds;
  }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;
  double seconds = 0;  // of the kernel itself
};

/// A range of the device's own profilers, named as the primitive.
struct DeviceRange {
  DeviceRange(const Primitive& primitive, Stream stream) : on(stream.device != Device::cpu) {
    if (on) device_api::begin_range(primitive.name);
  }
  ~DeviceRange() {
    if (on) device_api::end_range();
  }
  DeviceRange(const DeviceRange&) = delete;
  DeviceRange& operator=(const DeviceRange&) = delete;
  const bool on;
};

struct OnDevice {
  OnDevice() { device_api::begin_kernel(); }
  ~OnDevice() { device_api::end_kernel(); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
};

/// A dispatch on the sink's clock of the device. One that throws has ended, too.
struct OnDeviceClock {
  OnDeviceClock(DeviceClock* clock, Stream stream)
      : clock(clock), stream(stream), number(clock == nullptr ? -1 : clock->begin(stream)) {}
  ~OnDeviceClock() {
    if (clock != nullptr) clock->end(number, stream);
  }
  OnDeviceClock(const OnDeviceClock&) = delete;
  OnDeviceClock& operator=(const OnDeviceClock&) = delete;
  DeviceClock* const clock;
  const Stream stream;
  const int number;
};

void run_traced(const Primitive& primitive, const Kernel& kernel, const void* problem, Ports ports,
                Stream stream) {
  TraceEvent event{.primitive = &primitive,
                   .kernel = &kernel,
                   .cost = primitive.cost(problem),
                   .depth = depth,
                   .problem = problem,
                   .ports = ports};
  {
    const OnDeviceClock timed(stream.device == Device::cpu ? nullptr : sink->device_clock(), stream);
    event.device_number = timed.number;
    event.begin_s = now_s();
    const double observed_before = observers_seconds();
    Nested nested;
    launch(kernel, problem, ports, stream);
    const double observed = observers_seconds() - observed_before;  // around the kernels that this one called
    nested.seconds = event.seconds = now_s() - event.begin_s - observed;
    event.self_seconds = event.seconds - nested_seconds;
  }
  sink->record(event);
}

void run(const Primitive& primitive, const Kernel& kernel, const void* problem, Ports ports, Stream stream) {
  if (sink != nullptr) {
    run_traced(primitive, kernel, problem, ports, stream);
  } else {
    launch(kernel, problem, ports, stream);
  }
}

// A call that names no stream gets the current one of the device on which its ports lie.
Stream stream_for(Device device, Stream given) {
  return device == given.device ? given : current_stream(device);
}

}  // namespace

double bytes_of(const PortList& ports) {
  double bytes = 0;
  for (const PortSpec& p : ports) {
    bytes += static_cast<double>(p.shape.numel() * size_of(p.dtype)) * (p.role == Role::update ? 2 : 1);
  }
  return bytes;
}

void launch(const Kernel& kernel, const void* problem, Ports ports, Stream stream) {
  if (stream.device == Device::cpu) return kernel.run(problem, ports, stream);
  const OnDevice scope;
  kernel.run(problem, ports, stream);
  device_api::check_launch();
}

void dispatch(const Primitive& primitive, const void* problem, Ports ports, Stream stream) {
  primitive.check(problem);
  const Device device = device_of_ports(ports);
  const PortList specs = primitive.ports(problem);
  check_ports(primitive, specs, ports, device);
  if (observing()) check_observed(primitive, specs, problem, device);
  const Kernel& kernel = selection().choose(primitive, problem, device);
  stream = stream_for(device, stream);
  const DispatchScope running(primitive, kernel, specs, ports);
  const DeviceRange range(primitive, stream);
  std::optional<DebugRun> debugged;
  if (debug()) debugged.emplace(primitive, kernel, specs, ports);
  if (observing()) {
    run_observed({primitive, kernel, problem, specs, ports, stream},
                 [&] { run(primitive, kernel, problem, ports, stream); });
  } else {
    run(primitive, kernel, problem, ports, stream);
  }
  if (debugged) debugged->after_run();
}

// ---- Trace --------------------------------------------------------------------------------------

TraceSink* set_trace_sink(TraceSink* next) { return std::exchange(sink, next); }
TraceSink* trace_sink() { return sink; }

void TraceTotals::record(const TraceEvent& event) {
  Row& row = rows_[{event.primitive->name, event.kernel->name}];
  ++row.calls;
  row.self_seconds += event.self_seconds;
  row.flops += event.cost.flops;
  row.bytes += event.cost.bytes;
  if (event.depth == 0) flops_ += event.cost.flops;
}

}  // namespace fovea
