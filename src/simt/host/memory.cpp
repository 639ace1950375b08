// Memory for kernels, on the host; alignment; and the checker's hook where there is no checker.
#include <cstring>
#include <new>

#include "simt/host/checker.hpp"
#include "simt/host/executor.hpp"

namespace simt {
namespace {
constexpr std::align_val_t alignment{256};
}

void* device_malloc(std::size_t bytes, const char* name) {
  void* data = ::operator new(bytes, alignment);
  std::memset(data, 0xFF, bytes);  // a NaN in every floating type
  detail::check_register(data, bytes, name, false);
  return data;
}

void device_free(void* data) {
  if (data == nullptr) return;
  detail::check_unregister(data);
  ::operator delete(data, alignment);
}

void copy_to_device(void* to, const void* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
  watch(to, bytes, nullptr, true);
}
void copy_to_host(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

void watch(const void* data, std::size_t bytes, const char* name, bool defined) {
  detail::check_register(data, bytes, name, defined);
}
void unwatch(const void* data) { detail::check_unregister(data); }

namespace detail {

void check_aligned(const void* pointer, std::size_t bytes, Site site) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0) return;
  char text[64];
  std::snprintf(text, sizeof text, "%p is no multiple of the access's %zu bytes", pointer, bytes);
  fail(Fault::misaligned, text, site);
}

#if !defined(SIMT_CHECK)
void note_access(const void*, std::size_t, bool, bool, Site) {}
#endif

}  // namespace detail
}  // namespace simt
