// The progress line on stderr: redrawn on a terminal, now and then a plain line elsewhere.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace fovea {

class Progress {
 public:
  Progress();
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// What goes on now. Elsewhere than on a terminal it is printed at most every five seconds.
  void update(const std::string& line);
  /// A line that stays, above the one that is redrawn.
  void note(std::string_view line);
  /// Whether update() would print: spares making the line.
  bool due() const;

 private:
  void clear();
  bool terminal_ = false, drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

/// "2:05" or "1:02:05".
std::string clock_text(double seconds);

}  // namespace fovea
