// Origins: where an access stands in the source, in 32 bits, and the words for it.
//
// An instrumented access brings its return address, an access that the executor makes brings its Site. Only a
// report turns an address into a line, by addr2line; where that is absent it names the function or the address.
#pragma once

#include <cstdint>
#include <string>

#include "simt/host/core.hpp"

namespace simt::detail {

using Origin = std::uint32_t;

constexpr std::intptr_t origin_window = 1 << 30;  // bytes of code around origin_anchor() that fit
constexpr Origin origin_is_listed = 1u << 31;
void origin_anchor();
Origin list_origin(const void* code);

inline Origin origin_of(const void* code) {
  const std::intptr_t distance =
      reinterpret_cast<std::intptr_t>(code) - reinterpret_cast<std::intptr_t>(&origin_anchor);
  if (distance > -origin_window && distance < origin_window) return Origin(distance + origin_window);
  return list_origin(code);  // another shared library
}
Origin origin_of(Site site);

/// Whether this is a function of the standard library that was not inlined into a kernel. The linker keeps one
/// copy of such a function; where that is the instrumented one of a kernel file, the executor's own strings and
/// lists come by here.
bool is_library(Origin origin);
/// "reduce.cu:22"
std::string to_string_origin(Origin origin);

}  // namespace simt::detail
