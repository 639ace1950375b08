// Errors: one clear sentence with the value at fault and what to do about it.
//
// Everything that can go wrong for a reason outside the code throws Error; the program turns it into one line
// on stderr and an exit code. UsageError is for what the user typed (exit 2), Error for everything else (exit
// 1). Messages are plain strings, formatted where they are thrown, so that this header stays fit for .cu
// files.
#pragma once

#include <stdexcept>
#include <string>

namespace fovea {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message) {}
};

[[noreturn]] inline void fail(const std::string& message) { throw Error(message); }
[[noreturn]] inline void fail_usage(const std::string& message) { throw UsageError(message); }

}  // namespace fovea
