// See interrupts.hpp. The handler does what handlers may: it sets a flag. SA_RESETHAND gives the second
// signal its default meaning, SA_RESTART leaves reads and writes under way alone.
#include "interrupts.hpp"

#include <csignal>

namespace fovea {
namespace {

volatile std::sig_atomic_t flag = 0;

void on_signal(int) { flag = 1; }

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = &on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return flag != 0; }

}  // namespace fovea
