// A build without CUDA. Every call says so, unless FOVEA_EMULATE_DEVICE=1: then there is one device whose kernels
// are the host executor's (FOVEA_CUDA_ROW) and whose memory only they, copies and fills can touch. Everything is
// done when the call returns, so streams and events are names; a graph is replayed by stream.cpp.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string_view>

#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/protected_memory.hpp"

namespace fovea::device_api {
namespace {

bool asked_for() {
  static const bool asked = [] {
    const char* const value = std::getenv("FOVEA_EMULATE_DEVICE");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return asked;
}

void need_device() {
  if (!asked_for()) fail(why_unusable(ask_driver()) + "; use --device cpu");
}

std::int64_t host_memory() {
  return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

// Never destroyed, since Storage with static lifetime is released after everything else.
ProtectedMemory& memory() {
  need_device();
  static ProtectedMemory* const instance = new ProtectedMemory(host_memory());
  return *instance;
}

void* new_name() {
  need_device();
  static std::atomic<std::uintptr_t> last{0};
  return reinterpret_cast<void*>(++last);
}

using Clock = std::chrono::steady_clock;

}  // namespace

DriverAnswer ask_driver() {
  DriverAnswer answer;
  answer.built_with_cuda = asked_for();
  if (!asked_for()) return answer;
  answer.devices = 1;
  answer.name = "host executor";
  answer.major = 9;
  return answer;
}

bool is_emulated() { return asked_for(); }

DeviceInfo info() {
  need_device();
  DeviceInfo info;
  info.name = "host executor";
  info.major = 9;
  info.memory_bytes = host_memory();
  return info;
}

void* allocate(std::int64_t bytes, void*) { return memory().allocate(bytes); }
void release(void* data, void*) {
  if (!memory().release(data)) fail("memory that is not the emulated device's was given back to it");
}
void memory(std::int64_t& free_bytes, std::int64_t& total_bytes) {
  total_bytes = memory().capacity();
  free_bytes = total_bytes - memory().used();
}

void* allocate_pinned(std::int64_t bytes) {
  need_device();
  return std::malloc(static_cast<std::size_t>(bytes));
}
void release_pinned(void* data) { std::free(data); }

void copy(void* to, const void* from, std::int64_t bytes, void*) { memory().copy(to, from, bytes); }
void fill(void* data, unsigned char byte, std::int64_t bytes, void*) { memory().fill(data, byte, bytes); }

void begin_kernel() { memory().open(); }
void end_kernel() noexcept { memory().close(); }

void* make_stream() { return new_name(); }
void destroy_stream(void*) { need_device(); }
void synchronize_stream(void*) { need_device(); }
void synchronize_device() { need_device(); }
void wait_for_event(void*, void*) { need_device(); }

void* make_event() {
  need_device();
  return new Clock::time_point;
}
void destroy_event(void* event) { delete static_cast<Clock::time_point*>(event); }
void record_event(void* event, void*) { *static_cast<Clock::time_point*>(event) = Clock::now(); }
void synchronize_event(void*) { need_device(); }
float elapsed_ms(void* from, void* to) {
  const auto time = *static_cast<Clock::time_point*>(to) - *static_cast<Clock::time_point*>(from);
  return std::chrono::duration<float, std::milli>(time).count();
}

void begin_capture(void*) { fail("the emulated device captures nothing"); }
void* end_capture(void*) { fail("the emulated device captures nothing"); }
void abandon_capture(void*) noexcept {}
void destroy_captured(void*) {}
void* instantiate(void*) { fail("the emulated device captures nothing"); }
bool update_graph(void*, void*) { fail("the emulated device captures nothing"); }
void launch_graph(void*, void*) { fail("the emulated device captures nothing"); }
void destroy_graph(void*) {}
void check_launch() { need_device(); }
const char* error_text(int) { return "no CUDA in this build"; }

}  // namespace fovea::device_api
