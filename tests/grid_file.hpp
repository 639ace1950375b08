// The grid: every cell that the kernel tests know (primitive x kernel row x dtype x case), counted by what came of
// it. A test process appends one line per primitive to the file that FOVEA_GRID_FILE names; grid.py adds them up.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace fovea::testing {

struct GridCounts {
  int passed = 0, failed = 0;
  std::map<std::string, int> skipped;  // by reason

  /// One write to the end of the file, so that processes side by side do not mix their lines.
  void append(const char* primitive) const {
    const char* path = std::getenv("FOVEA_GRID_FILE");
    if (path == nullptr) return;
    const nlohmann::json line{
        {"primitive", primitive}, {"passed", passed}, {"failed", failed}, {"skipped", skipped}};
    const std::string text = line.dump() + "\n";
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0 || write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      throw std::runtime_error(std::string("FOVEA_GRID_FILE: cannot append to ") + path);
    }
    close(file);
  }
};

}  // namespace fovea::testing
