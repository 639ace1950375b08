// See progress.hpp.
#include "progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

std::size_t terminal_width() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1), last_(Clock::now()) {}

bool Progress::due() const {
  return Clock::now() - last_ >=
         (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000));
}

void Progress::update(const std::string& line) {
  if (!due()) return;
  last_ = Clock::now();
  if (!terminal_) {
    fmt::print(stderr, "{}\n", line);
    return;
  }
  fmt::print(stderr, "\r\x1b[K{}", line.substr(0, terminal_width() - 1));
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::note(std::string_view line) {
  clear();
  fmt::print(stderr, "{}\n", line);
  last_ = Clock::now();
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(std::lround(std::clamp(seconds, 0.0, 3.6e8)));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace fovea
