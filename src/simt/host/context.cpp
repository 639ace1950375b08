// The context switches. See context.hpp.
#include "simt/host/context.hpp"

#include <cstdint>

#if defined(SIMT_UCONTEXT)

namespace simt::detail {

void Context::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  getcontext(&state_);
  state_.uc_stack.ss_sp = stack;
  state_.uc_stack.ss_size = bytes;
  state_.uc_link = nullptr;
  makecontext(&state_, entry, 0);
}
void Context::swap(Context& from, Context& to) { swapcontext(&from.state_, &to.state_); }

}  // namespace simt::detail

#else

extern "C" {
void simt_context_swap(void** save, void* load);
void simt_context_start();
}

#if defined(__x86_64__)

// What a switch leaves on the stack, from the stack pointer up: r15 r14 r13 r12 rbx rbp, return address.
// A new context returns into simt_context_start, which calls rbx; its frame ends the backtrace.
asm(R"(
.text
.globl simt_context_swap
.type simt_context_swap,@function
simt_context_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_context_swap,.-simt_context_swap
.globl simt_context_start
.type simt_context_start,@function
simt_context_start:
  .cfi_startproc
  .cfi_undefined rip
  call *%rbx
  ud2
  .cfi_endproc
.size simt_context_start,.-simt_context_start
.section .note.GNU-stack,"",@progbits
.text
)");

namespace simt::detail {
namespace {
constexpr int saved_words = 7, entry_word = 4, return_word = 6;
}

void Context::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  const auto top = reinterpret_cast<std::uintptr_t>(stack + bytes) & ~std::uintptr_t(15);
  auto** words = reinterpret_cast<void**>(top) - saved_words - 2;  // even: the entry finds a call's alignment
  for (int i = 0; i < saved_words; ++i) words[i] = nullptr;
  words[entry_word] = reinterpret_cast<void*>(entry);
  words[return_word] = reinterpret_cast<void*>(&simt_context_start);
  stack_pointer_ = words;
}

#else  // aarch64

// From the stack pointer up: d8-d15, x19-x28, x29 (frame), x30 (return address).
asm(R"(
.text
.globl simt_context_swap
.type simt_context_swap,%function
simt_context_swap:
  sub sp, sp, #160
  stp d8, d9, [sp, #0]
  stp d10, d11, [sp, #16]
  stp d12, d13, [sp, #32]
  stp d14, d15, [sp, #48]
  stp x19, x20, [sp, #64]
  stp x21, x22, [sp, #80]
  stp x23, x24, [sp, #96]
  stp x25, x26, [sp, #112]
  stp x27, x28, [sp, #128]
  stp x29, x30, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp d8, d9, [sp, #0]
  ldp d10, d11, [sp, #16]
  ldp d12, d13, [sp, #32]
  ldp d14, d15, [sp, #48]
  ldp x19, x20, [sp, #64]
  ldp x21, x22, [sp, #80]
  ldp x23, x24, [sp, #96]
  ldp x25, x26, [sp, #112]
  ldp x27, x28, [sp, #128]
  ldp x29, x30, [sp, #144]
  add sp, sp, #160
  ret
.size simt_context_swap,.-simt_context_swap
.globl simt_context_start
.type simt_context_start,%function
simt_context_start:
  .cfi_startproc
  .cfi_undefined x30
  blr x19
  brk #1
  .cfi_endproc
.size simt_context_start,.-simt_context_start
.section .note.GNU-stack,"",%progbits
.text
)");

namespace simt::detail {
namespace {
constexpr int saved_words = 20, entry_word = 8, return_word = 19;
}

void Context::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  const auto top = reinterpret_cast<std::uintptr_t>(stack + bytes) & ~std::uintptr_t(15);
  auto** words = reinterpret_cast<void**>(top) - saved_words;
  for (int i = 0; i < saved_words; ++i) words[i] = nullptr;
  words[entry_word] = reinterpret_cast<void*>(entry);
  words[return_word] = reinterpret_cast<void*>(&simt_context_start);
  stack_pointer_ = words;
}

#endif

void Context::swap(Context& from, Context& to) { simt_context_swap(&from.stack_pointer_, to.stack_pointer_); }

}  // namespace simt::detail

#endif
