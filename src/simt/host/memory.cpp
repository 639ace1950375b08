// Memory for kernels, on the host; alignment; and the checker's hook where there is no checker.
#include <cstring>
#include <new>

#include "simt/host/checker.hpp"
#include "simt/host/executor.hpp"

namespace simt {
namespace {

constexpr std::align_val_t alignment{256};
#if defined(SIMT_CHECK)
constexpr std::size_t guard_bytes = 256;  // on both sides, for the checker
#else
constexpr std::size_t guard_bytes = 0;  // AddressSanitizer has its own, and the plain build none
#endif

}  // namespace

void* device_malloc(std::size_t bytes, const char* name) {
  char* data = static_cast<char*>(::operator new(bytes + 2 * guard_bytes, alignment)) + guard_bytes;
  std::memset(data, 0xFF, bytes);  // a NaN in every floating type
  watch(data, bytes, name, false);
  watch_guard(data - guard_bytes, guard_bytes, name);
  watch_guard(data + bytes, guard_bytes, name);
  return data;
}

void device_free(void* data) {
  if (data == nullptr) return;
  unwatch(data);
  ::operator delete(static_cast<char*>(data) - guard_bytes, alignment);
}

void copy_to_device(void* to, const void* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
  watch(to, bytes, nullptr, true);
}
void copy_to_host(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

void watch(const void* data, std::size_t bytes, const char* name, bool defined) {
  detail::check_register(data, bytes, name, defined);
}
void watch_guard(const void* data, std::size_t bytes, const char* name) {
  detail::check_guard(data, bytes, name);
}
void unwatch(const void* data) { detail::check_unregister(data); }

namespace detail {

void fail_misaligned(const void* pointer, std::size_t bytes, Site site) {
  char text[64];
  std::snprintf(text, sizeof text, "%p is no multiple of the access's %zu bytes", pointer, bytes);
  fail(Fault::misaligned, text, site);
}

#if !defined(SIMT_CHECK)
void note_access(const void*, std::size_t, bool, bool, Site) {}
#endif

}  // namespace detail
}  // namespace simt
