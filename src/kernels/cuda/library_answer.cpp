// See library_answer.hpp.
#include "kernels/cuda/library_answer.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace fovea {

void* load_library(LibraryAnswer& answer, const std::string& folder) {
  void* handle = nullptr;
  for (const std::string& place : {std::string(), folder + "/"}) {
    handle = dlopen((place + answer.file).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (handle != nullptr) break;
    if (answer.failure.empty()) answer.failure = dlerror();
  }
  answer.loaded = handle != nullptr;
  return handle;
}

void* LibraryFunctions::address_of(const char* name) const {
  return handle_ == nullptr ? nullptr : dlsym(handle_, name);
}

std::string refusal_of(const std::string& message) {
  const std::string engine = "\"engineId\":", reason = "Reason: ";
  std::vector<std::string> found;
  for (std::size_t at = message.find(engine); at != std::string::npos;) {
    const std::size_t next = message.find(engine, at + 1), from = message.find(reason, at);
    const int number = std::atoi(message.c_str() + at + engine.size());
    at = next;
    if (number < 0 || from >= next) continue;  // a place holder of its heuristics, or nothing said
    const std::size_t begin = from + reason.size();
    std::string one =
        fmt::format("eng{}: {}", number, message.substr(begin, message.find('\n', begin) - begin));
    if (std::find(found.begin(), found.end(), one) == found.end()) found.push_back(std::move(one));
  }
  std::sort(found.begin(), found.end());
  return found.empty() ? message.substr(0, message.find('\n')) : fmt::format("{}", fmt::join(found, "; "));
}

std::string version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string sentence_of(const LibraryAnswer& a) {
  if (!a.loaded) {
    return fmt::format("{} cannot be loaded ({}); install it, or name its folder in LD_LIBRARY_PATH", a.name,
                       a.failure.empty() ? a.file + " was not found" : a.failure);
  }
  if (a.version < a.needed) {
    return fmt::format("{} {} is too old; install {} or newer", a.name, version_text(a.version),
                       version_text(a.needed));
  }
  return "";
}

}  // namespace fovea
