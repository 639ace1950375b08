// Progress on stderr, a line or several: redrawn on a terminal, now and then plain lines elsewhere.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

class Progress {
 public:
  /// `elsewhere`: how long plain lines are apart where stderr is no terminal.
  explicit Progress(std::chrono::milliseconds elsewhere = std::chrono::seconds(5));
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// What goes on now, where it is due().
  void update(const std::vector<std::string>& lines);
  void update(const std::string& line) { update(std::vector{line}); }
  /// A line that stays, above the one that is redrawn.
  void note(std::string_view line);
  /// Whether update() would print: spares making the line.
  bool due() const;
  bool on_terminal() const { return terminal_; }

 private:
  void clear();
  bool terminal_ = false;
  std::chrono::milliseconds apart_;
  std::size_t drawn_ = 0;  // lines
  std::chrono::steady_clock::time_point last_;
};

/// "2:05" or "1:02:05".
std::string clock_text(double seconds);

}  // namespace fovea
