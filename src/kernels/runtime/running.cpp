// See running.hpp and cuda_error.hpp. Scopes are linked through the stack: entering one costs a few stores.
#include "kernels/runtime/running.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "kernels/runtime/cuda_error.hpp"
#include "kernels/runtime/cuda_status.hpp"
#include "kernels/runtime/device_api.hpp"

namespace fovea {
namespace {

thread_local const FunctionScope* function = nullptr;
thread_local const DispatchScope* innermost = nullptr;

struct Name {
  const Primitive* primitive = nullptr;
  const Kernel* kernel = nullptr;
};
constexpr std::size_t ring_size = 4;
thread_local std::array<Name, ring_size> ring;
thread_local std::size_t dispatched = 0;

std::string_view file_name(std::string_view path) { return path.substr(path.find_last_of('/') + 1); }

std::string_view call_name(std::string_view call) { return call.substr(0, call.find('(')); }

}  // namespace

FunctionScope::FunctionScope(const char* name, bool backward)
    : name_(name), backward_(backward), outer_(function) {
  function = this;
}
FunctionScope::~FunctionScope() { function = outer_; }

DispatchScope::DispatchScope(const Primitive& primitive, const Kernel& kernel, const PortList& specs,
                             Ports ports)
    : primitive_(primitive), kernel_(kernel), specs_(specs), ports_(ports), outer_(innermost) {
  innermost = this;
  ring[dispatched++ % ring_size] = {&primitive, &kernel};
}
DispatchScope::~DispatchScope() { innermost = outer_; }

// The tensors that say how large the problem is.
std::string shapes_text(const PortList& specs, Ports ports) {
  std::string shapes;
  int listed = 0;
  for (std::size_t i = 0; i < specs.size() && listed < 3; ++i) {
    if (!ports[i] || specs[i].role == Role::output || (ports[i].shape.rank() < 2 && i > 0)) continue;
    shapes += fmt::format("{}{} {} {}", listed++ > 0 ? ", " : "", specs[i].name, to_string(ports[i].shape),
                          name_of(ports[i].dtype));
  }
  return shapes;
}

std::string dispatch_text(const Primitive& primitive, const Kernel& kernel, const PortList& specs,
                          Ports ports) {
  const std::string shapes = shapes_text(specs, ports);
  return fmt::format("{} ({} kernel '{}'{}{})", primitive.name, name_of(kernel.backend), kernel.name,
                     shapes.empty() ? "" : ", ", shapes);
}

std::string what_is_running() {
  if (innermost != nullptr) {
    return dispatch_text(innermost->primitive_, innermost->kernel_, innermost->specs_, innermost->ports_);
  }
  if (function == nullptr) return "";
  return function->backward_ ? fmt::format("backward of '{}'", function->name_) : function->name_;
}

bool is_dispatching() { return innermost != nullptr; }

std::string last_dispatches() {
  std::string text;
  for (std::size_t back = 1; back <= std::min(dispatched, ring_size); ++back) {
    const Name& name = ring[(dispatched - back) % ring_size];
    text += fmt::format("{}{} '{}'", text.empty() ? "" : ", ", name.primitive->name, name.kernel->name);
  }
  return text;
}

std::string sentence_of(const CudaFailure& failure, const std::string& driver_text) {
  const std::string running = what_is_running(), last = last_dispatches();
  std::string text = running.empty() ? "" : running + ": ";
  text += fmt::format("{} failed: {}", call_name(failure.call), driver_text);
  if (cuda_status::is_of_an_earlier_kernel(failure.status)) {
    text += ", raised by a kernel that ran before this call";
    if (!last.empty()) text += fmt::format(" (the last dispatched, newest first: {})", last);
  }
  if (failure.status == cuda_status::no_kernel_image || failure.status == cuda_status::unsupported_ptx) {
    text +=
        ": this build has no code for this device; rebuild with its CMAKE_CUDA_ARCHITECTURES, or use "
        "--device cpu";
  }
  return text + fmt::format(" [{}:{}]", file_name(failure.file), failure.line);
}

void fail_cuda(const CudaFailure& failure) {
  fail(sentence_of(failure, device_api::error_text(failure.status)));
}

}  // namespace fovea
