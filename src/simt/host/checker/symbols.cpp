// See symbols.hpp.
#include "simt/host/checker/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "simt/host/executor.hpp"

namespace simt::detail {
namespace {

struct Listed {
  const void* code;
  Site site;
};

// Few: lines of wrappers, and accesses of other shared libraries. Asked for from one launch at a time.
std::vector<Listed>& listed() {
  static std::vector<Listed>& list = *new std::vector<Listed>;
  return list;
}

template <class Same>
Origin list(const Listed& entry, Same&& same) {
  std::vector<Listed>& all = listed();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (same(all[i])) return origin_is_listed | Origin(i);
  }
  all.push_back(entry);
  return origin_is_listed | Origin(all.size() - 1);
}

// The file that holds an address, and what its addresses are shifted by.
struct Module {
  std::uintptr_t address, base;
  std::string path;
};

int find_module(dl_phdr_info* info, std::size_t, void* wanted) {
  auto* module = static_cast<Module*>(wanted);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    const std::uintptr_t begin = info->dlpi_addr + part.p_vaddr;
    if (part.p_type != PT_LOAD || module->address < begin || module->address >= begin + part.p_memsz)
      continue;
    module->base = info->dlpi_addr;
    module->path = info->dlpi_name;
    return 1;
  }
  return 0;
}

std::string program_path() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, std::size_t(length)) : std::string();
}

// The layer's own inline functions are not what a kernel author looks for.
bool in_layer(const std::string& line) {
  return line.find("/simt/") != std::string::npos && line.find(".hpp:") != std::string::npos;
}

// The lines of an address, the innermost inlined function first.
std::vector<std::string> ask_addr2line(const Module& module) {
  if (module.path.empty() || module.path.find('\'') != std::string::npos) return {};
  char command[4400];
  std::snprintf(command, sizeof command, "addr2line -i -e '%s' %#lx 2>/dev/null", module.path.c_str(),
                static_cast<unsigned long>(module.address - module.base));
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command, "r"), pclose);
  if (pipe == nullptr) return {};
  std::vector<std::string> lines;
  char line[4096];
  while (std::fgets(line, sizeof line, pipe.get()) != nullptr) {
    std::string text(line);
    text.resize(std::min(text.find_first_of(" \n"), text.size()));  // addr2line may add "(discriminator 3)"
    if (text.empty() || text[0] == '?' || text.ends_with(":?")) continue;
    lines.push_back(text);
  }
  return lines;
}

Module module_of(const void* code) {
  Module module{reinterpret_cast<std::uintptr_t>(code) - 1, 0, {}};  // within the call, not after it
  if (dl_iterate_phdr(find_module, &module) != 0 && module.path.empty()) module.path = program_path();
  return module;
}

const void* code_of(Origin origin) {
  if ((origin & origin_is_listed) != 0) return listed()[origin & ~origin_is_listed].code;
  const auto anchor = reinterpret_cast<std::intptr_t>(&origin_anchor);
  return reinterpret_cast<const void*>(anchor + std::intptr_t(origin) - origin_window);
}

std::string function_of(const void* code) {
  Dl_info info{};
  if (dladdr(code, &info) == 0 || info.dli_sname == nullptr) return {};
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), std::free);
  return status == 0 ? readable.get() : info.dli_sname;
}

std::string line_of(const void* code) {
  std::string found;
  for (const std::string& line : ask_addr2line(module_of(code))) {
    if (found.empty() || in_layer(found)) found = line;
  }
  if (!found.empty()) return found.substr(found.rfind('/') + 1);
  if (std::string function = function_of(code); !function.empty()) return function;
  char text[32];
  std::snprintf(text, sizeof text, "address %p", code);
  return text;
}

}  // namespace

void origin_anchor() {}

Origin list_origin(const void* code) {
  return list({code, {}}, [code](const Listed& other) { return other.code == code; });
}

Origin origin_of(Site site) {
  return list({nullptr, site}, [site](const Listed& other) {
    return other.code == nullptr && other.site.file == site.file && other.site.line == site.line;
  });
}

bool is_library(Origin origin) {
  static std::unordered_map<Origin, bool>& known = *new std::unordered_map<Origin, bool>;
  const void* code = code_of(origin);
  if (code == nullptr) return false;
  const auto [at, is_new] = known.try_emplace(origin, false);
  if (is_new) {
    const std::vector<std::string> lines = ask_addr2line(module_of(code));
    const auto in_library = [](const std::string& line) { return line.find("/c++/") != std::string::npos; };
    at->second = !lines.empty() && std::all_of(lines.begin(), lines.end(), in_library);
  }
  return at->second;
}

std::string to_string_origin(Origin origin) {
  const void* code = code_of(origin);
  return code != nullptr ? line_of(code) : to_string(listed()[origin & ~origin_is_listed].site);
}

}  // namespace simt::detail
