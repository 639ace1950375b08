// See child_process.hpp. Between fork and exec only calls that are safe there: everything is laid out before.
#include "child_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "kernels/runtime/error.hpp"

extern char** environ;

namespace fovea {
namespace {

constexpr const char* this_program = "/proc/self/exe";

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& more) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const auto replaced = [&](const auto& pair) { return text.starts_with(pair.first + "="); };
    if (std::none_of(more.begin(), more.end(), replaced)) all.push_back(text);
  }
  for (const auto& [name, value] : more) all.push_back(name + "=" + value);
  return all;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const std::vector<std::pair<std::string, std::string>>& environment,
                           const std::string& log) {
  std::vector<std::string> words{"fovea"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment_with(environment);
  const std::vector<char*> word_pointers = pointers_to(words), variable_pointers = pointers_to(variables);
  const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (output < 0) fail(fmt::format("{}: cannot be written: {}", log, std::strerror(errno)));
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = ::getpid();
  id_ = ::fork();
  if (id_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGINT);
    if (::getppid() != parent) ::_exit(128 + SIGINT);  // it ended before that call
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::execve(this_program, word_pointers.data(), variable_pointers.data());
    ::_exit(127);
  }
  const int error = errno;
  ::close(output);
  if (input >= 0) ::close(input);
  if (id_ < 0) fail(fmt::format("no further process can be started: {}", std::strerror(error)));
}

ChildProcess::~ChildProcess() {
  if (poll()) return;
  interrupt();
  int status = 0;
  while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> ChildProcess::poll() {
  if (code_) return code_;
  int status = 0;
  if (::waitpid(id_, &status, WNOHANG) == id_)
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return code_;
}

void ChildProcess::interrupt() const {
  if (!code_) ::kill(id_, SIGINT);
}

FolderLock::FolderLock(const std::string& folder, int seconds) {
  const std::string path = folder + "/.lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT, 0666);  // children inherit it
  if (file_ < 0) fail(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
  for (int tenths = 0; ::flock(file_, LOCK_EX | LOCK_NB) != 0; ++tenths) {
    if (errno != EWOULDBLOCK) fail(fmt::format("{}: cannot be locked: {}", path, std::strerror(errno)));
    if (tenths == 0) fmt::print(stderr, "{}: another process still works here; waiting for it\n", folder);
    if (tenths == 10 * seconds) {
      ::close(file_);
      fail(fmt::format("{}: another process works here; wait for it, or name another folder", folder));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

FolderLock::~FolderLock() { ::close(file_); }

}  // namespace fovea
