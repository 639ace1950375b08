// When a kernel touches a trapping page or a wild address: say which CUDA thread it was, then die as usual.
#pragma once

#include <csignal>
#include <memory>

namespace simt::detail {

/// Once a process. Under AddressSanitizer, which has a report of its own, only adds the thread to it.
void install_fault_handler();

/// A stack for the handler: the one that overflowed is of no use to it. For the OS thread that runs fibers.
class AlternateSignalStack {
 public:
  AlternateSignalStack();
  ~AlternateSignalStack();
  AlternateSignalStack(const AlternateSignalStack&) = delete;
  AlternateSignalStack& operator=(const AlternateSignalStack&) = delete;

 private:
  std::unique_ptr<char[]> memory_;
  stack_t earlier_{};
};

}  // namespace simt::detail
