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

struct TerminalSize {
  std::size_t rows = 24, columns = 80;
};

TerminalSize terminal_size() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && size.ws_row > 1;
  return known ? TerminalSize{size.ws_row, size.ws_col} : TerminalSize{};
}

}  // namespace

Progress::Progress(std::chrono::milliseconds elsewhere)
    : terminal_(isatty(STDERR_FILENO) == 1),
      apart_(terminal_ ? std::chrono::milliseconds(100) : elsewhere),
      last_(Clock::now()) {}

bool Progress::due() const { return Clock::now() - last_ >= apart_; }

// More lines than the terminal has cannot be drawn over: the last ones say most.
void Progress::update(const std::vector<std::string>& lines) {
  if (!due()) return;
  last_ = Clock::now();
  if (!terminal_) {
    for (const std::string& line : lines) fmt::print(stderr, "{}\n", line);
    return;
  }
  clear();
  const TerminalSize size = terminal_size();
  const std::size_t first = lines.size() > size.rows ? lines.size() - size.rows : 0;
  for (std::size_t i = first; i < lines.size(); ++i)
    fmt::print(stderr, "{}{}", i > first ? "\n" : "", lines[i].substr(0, size.columns - 1));
  std::fflush(stderr);
  drawn_ = lines.size() - first;
}

void Progress::note(std::string_view line) {
  clear();
  fmt::print(stderr, "{}\n", line);
  last_ = Clock::now();
}

void Progress::clear() {
  if (drawn_ > 0) fmt::print(stderr, "\r\x1b[K");
  for (; drawn_ > 1; --drawn_) fmt::print(stderr, "\x1b[A\x1b[K");
  drawn_ = 0;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(std::lround(std::clamp(seconds, 0.0, 3.6e8)));
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace fovea
