// Another process of this program, whose words go to a file.
//
// It is told to save and stop (SIGINT) when this process ends, however that happens, and it holds this process's lock
// file open, so that the lock stands until the last child is gone.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fovea {

class ChildProcess {
 public:
  /// `arguments` are those of the program, whose output and messages are added to the file `log`. Error where it cannot
  /// be started.
  ChildProcess(const std::vector<std::string>& arguments,
               const std::vector<std::pair<std::string, std::string>>& environment, const std::string& log);
  /// Interrupts it where it still runs, and waits.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// The exit code once it has ended; 128 and the signal's number where a signal ended it.
  std::optional<int> poll();
  void interrupt() const;

 private:
  pid_t id_ = -1;
  std::optional<int> code_;
};

/// A folder that one process works in at a time: a lock on the file `.lock` in it, which children inherit.
class FolderLock {
 public:
  /// Waits up to `seconds` for whoever has it, which stderr says; Error after that.
  FolderLock(const std::string& folder, int seconds);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace fovea
