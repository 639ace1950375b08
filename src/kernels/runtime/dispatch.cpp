// dispatch(): port checks, kernel choice, trace. See primitive.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "kernels/runtime/primitive.hpp"
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

const Kernel* find_kernel(const Primitive& primitive, std::string_view name) {
  const auto it = std::find_if(primitive.kernels.begin(), primitive.kernels.end(),
                               [&](const Kernel& k) { return name == k.name; });
  return it == primitive.kernels.end() ? nullptr : &*it;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

TraceSink* sink = nullptr;
thread_local double nested_seconds = 0;  // spent in dispatches called by the running kernel
thread_local int depth = 0;

void run_traced(const Primitive& primitive, const Kernel& kernel, const void* problem, Ports ports,
                Stream stream) {
  const double outer_nested = nested_seconds;
  nested_seconds = 0;
  ++depth;
  TraceEvent event{&primitive, &kernel, now_s(), 0, 0, primitive.cost(problem), depth - 1};
  kernel.run(problem, ports, stream);
  event.seconds = now_s() - event.begin_s;
  event.self_seconds = event.seconds - nested_seconds;
  --depth;
  nested_seconds = outer_nested + event.seconds;
  sink->record(event);
}

}  // namespace

double bytes_of(const PortList& ports) {
  double bytes = 0;
  for (const PortSpec& p : ports) {
    bytes += static_cast<double>(p.shape.numel() * size_of(p.dtype)) * (p.role == Role::update ? 2 : 1);
  }
  return bytes;
}

void dispatch(const Primitive& primitive, const void* problem, Ports ports, Stream stream) {
  primitive.check(problem);
  const Device device = device_of_ports(ports);
  check_ports(primitive, primitive.ports(problem), ports, device);
  const Kernel& kernel = selection().choose(primitive, problem, device);
  if (sink != nullptr) {
    run_traced(primitive, kernel, problem, ports, stream);
  } else {
    kernel.run(problem, ports, stream);
  }
}

// ---- Selection ----------------------------------------------------------------------------------

void Selection::prefer(Backend backend) {
  has_preferred_ = true;
  preferred_ = backend;
}

void Selection::clear() { *this = Selection{}; }

std::vector<std::string> Selection::forced() const { return assignments_; }

std::string_view Selection::reason(const Primitive& primitive) const {
  for (const auto& [name, kernel] : forced_) {
    if (name == primitive.name) return "forced";
  }
  return has_preferred_ ? "preferred backend" : "first in the table";
}

const Kernel& Selection::choose(const Primitive& primitive, const void* problem, Device device) const {
  for (const auto& [name, kernel_name] : forced_) {
    if (name != primitive.name) continue;
    const Kernel& kernel = *find_kernel(primitive, kernel_name);
    if (device_of(kernel.backend) != device || !kernel.supports(problem)) {
      fail(fmt::format(
          "{}: the forced kernel '{}' does not support this {} problem on {}; drop --kernel {}={} or "
          "change the problem",
          primitive.name, kernel_name, name_of(primitive.dtype(problem)), name_of(device), name,
          kernel_name));
    }
    return kernel;
  }
  const Kernel* first = nullptr;
  for (const Kernel& kernel : primitive.kernels) {
    if (device_of(kernel.backend) != device || !kernel.supports(problem)) continue;
    if (!has_preferred_ || kernel.backend == preferred_) return kernel;
    if (first == nullptr) first = &kernel;
  }
  if (first == nullptr) {
    fail(fmt::format("{}: no kernel supports this {} problem on {}", primitive.name,
                     name_of(primitive.dtype(problem)), name_of(device)));
  }
  return *first;
}

Selection& selection() {
  static Selection instance;
  return instance;
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
}

}  // namespace fovea
