// See fault_handler.hpp.
#include "simt/host/fault_handler.hpp"

#include <unistd.h>
#include <csignal>
#include <cstdio>

#include "simt/host/executor.hpp"
#include "simt/host/sanitizer.hpp"

namespace simt::detail {
namespace {

constexpr std::size_t handler_stack_bytes = 64 << 10;

const char* explain(const char* address) {
  const Cluster& cluster = *current_cluster;
  if (const Fiber* f = cluster.running) {
    if (address >= f->stack - page_bytes && address < f->stack) {
      return ": the thread's stack is full (large local arrays, or recursion)";
    }
  }
  for (const Block& block : cluster.blocks) {
    const char* end = block.arena + arena_bytes;
    if (address >= end && address < end + page_bytes) return ": past the end of dynamic shared memory";
    if (address >= block.arena - page_bytes && address < block.arena)
      return ": before the start of shared memory";
  }
  return "";
}

// Not async-signal-safe to the letter (std::string); the process is about to die, and what it says is worth it.
void print_thread(const char* what, const char* address) {
  const Cluster* cluster = current_cluster;
  if (cluster == nullptr || cluster->running == nullptr) return;
  const Fiber& f = *cluster->running;
  char text[512];
  const int n =
      std::snprintf(text, sizeof text, "simt: kernel '%s': %s%s, by %s; its last collective was at %s\n",
                    cluster->job->name.text, what, address != nullptr ? explain(address) : "",
                    thread_name(f).c_str(), to_string(f.site).c_str());
  if (n > 0) (void)!write(STDERR_FILENO, text, std::min(std::size_t(n), sizeof text - 1));
}

struct sigaction earlier_segv, earlier_bus;

// Returns to the faulting instruction with the program's own action in place: a core dump or a debugger then
// shows the kernel's line.
void on_fault(int signal_number, siginfo_t* info, void*) {
  print_thread("segmentation fault", static_cast<const char*>(info->si_addr));
  sigaction(signal_number, signal_number == SIGBUS ? &earlier_bus : &earlier_segv, nullptr);
  if (info->si_code <= 0) raise(signal_number);  // sent by somebody: it would not come again
}

}  // namespace

void install_fault_handler() {
  static const bool installed = [] {
    if (with_asan()) return true;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &earlier_segv);
    sigaction(SIGBUS, &action, &earlier_bus);
    return true;
  }();
  (void)installed;
}

AlternateSignalStack::AlternateSignalStack() {
  if (with_asan()) return;
  memory_ = std::make_unique_for_overwrite<char[]>(handler_stack_bytes);
  stack_t stack{};
  stack.ss_sp = memory_.get();
  stack.ss_size = handler_stack_bytes;
  sigaltstack(&stack, &earlier_);
}

AlternateSignalStack::~AlternateSignalStack() {
  if (memory_ == nullptr) return;
  sigaltstack(&earlier_, nullptr);
}

}  // namespace simt::detail

/// Called by AddressSanitizer when it has found something, before it reports.
extern "C" void __asan_on_error() {
  simt::detail::print_thread("AddressSanitizer reports the following", nullptr);
}
