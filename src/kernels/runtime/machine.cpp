// See machine.hpp.
#include "kernels/runtime/machine.hpp"

#include <cctype>
#include <cstdlib>
#include <fstream>

namespace fovea {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string cache_folder() {
  if (const std::string named = environment("FOVEA_CACHE"); !named.empty()) return named;
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return cache + "/fovea";
  const std::string home = environment("HOME");
  return home.empty() ? "" : home + "/.cache/fovea";
}

std::string file_name_of(std::string_view text) {
  std::string name;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
    if (plain) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.empty() ? "unknown" : name;
}

}  // namespace fovea
