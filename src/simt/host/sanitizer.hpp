// What AddressSanitizer needs to know, where the program is built with it: which stack runs, and which bytes
// of an arena nobody may touch. The executor itself is never instrumented, so the hooks are weak.
#pragma once

#include <cstddef>

extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(const volatile void*, std::size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, std::size_t);
__attribute__((weak)) void* __asan_region_is_poisoned(void*, std::size_t);
__attribute__((weak)) void __sanitizer_start_switch_fiber(void**, const void*, std::size_t);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*);
__attribute__((weak)) void __lsan_ignore_object(const void*);
}

namespace simt::detail {

inline bool with_asan() { return __asan_poison_memory_region != nullptr; }
inline void poison(const void* p, std::size_t bytes) {
  if (with_asan()) __asan_poison_memory_region(p, bytes);
}
inline void unpoison(const void* p, std::size_t bytes) {
  if (with_asan()) __asan_unpoison_memory_region(p, bytes);
}
inline bool with_lsan() { return __lsan_ignore_object != nullptr; }
/// Does nothing where the word is no pointer to memory from the heap.
inline void forgive_leak(const void* word) { __lsan_ignore_object(word); }
/// Around a switch: `leave` before it (fake null: this stack ends), `enter` first thing after it.
inline void leave_stack(void** fake, const void* next_stack, std::size_t bytes) {
  if (with_asan()) __sanitizer_start_switch_fiber(fake, next_stack, bytes);
}
inline void enter_stack(void* fake, const void** previous = nullptr, std::size_t* bytes = nullptr) {
  if (with_asan()) __sanitizer_finish_switch_fiber(fake, previous, bytes);
}

}  // namespace simt::detail
