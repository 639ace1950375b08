// A build without CUDA: every call says so.
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea::device_api {
namespace {

[[noreturn]] void refuse() { fail(why_unusable(ask_driver()) + "; use --device cpu"); }

}  // namespace

DriverAnswer ask_driver() {
  DriverAnswer answer;
  answer.built_with_cuda = false;
  return answer;
}

DeviceInfo info() { refuse(); }
void* allocate(std::int64_t, void*) { refuse(); }
void release(void*, void*) { refuse(); }
void memory(std::int64_t&, std::int64_t&) { refuse(); }
void copy(void*, const void*, std::int64_t, void*) { refuse(); }
void fill(void*, unsigned char, std::int64_t, void*) { refuse(); }
void* make_stream() { refuse(); }
void destroy_stream(void*) { refuse(); }
void synchronize_stream(void*) { refuse(); }
void synchronize_device() { refuse(); }
void wait_for_event(void*, void*) { refuse(); }
void* make_event() { refuse(); }
void destroy_event(void*) { refuse(); }
void record_event(void*, void*) { refuse(); }
void synchronize_event(void*) { refuse(); }
float elapsed_ms(void*, void*) { refuse(); }
void begin_capture(void*) { refuse(); }
void* end_capture(void*) { refuse(); }
void abandon_capture(void*) noexcept {}
void launch_graph(void*, void*) { refuse(); }
void destroy_graph(void*) { refuse(); }
void check_launch() { refuse(); }
const char* error_text(int) { return "no CUDA in this build"; }

}  // namespace fovea::device_api
