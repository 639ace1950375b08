// Context: a suspended flow of control with a stack of its own, and the switch between two of them.
//
// x86-64 and aarch64 switch in a few instructions: push the callee-saved registers, swap stack pointers, pop.
// Elsewhere, and with SIMT_UCONTEXT defined, ucontext does it, at ten times the cost (it saves the signal
// mask).
#pragma once

#include <cstddef>

#if !defined(SIMT_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define SIMT_UCONTEXT 1
#endif
#if defined(SIMT_UCONTEXT)
#include <ucontext.h>
#endif

namespace simt::detail {

class Context {
 public:
  /// Makes the next switch into this context call `entry` on this stack. `entry` must never return.
  void prepare(char* stack, std::size_t bytes, void (*entry)());
  /// Saves the running flow in `from` and goes on with `to`.
  static void swap(Context& from, Context& to);

 private:
#if defined(SIMT_UCONTEXT)
  ucontext_t state_;
#else
  void* stack_pointer_ = nullptr;
#endif
};

}  // namespace simt::detail
