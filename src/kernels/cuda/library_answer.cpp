// See library_answer.hpp.
#include "kernels/cuda/library_answer.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

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
