// error.hpp: what the layer throws, in both worlds.
#pragma once

#include <stdexcept>
#include <string>

namespace simt {

/// What kind of mistake an Error reports.
enum class Fault {
  launch,         // a launch that no device would take: shape, shared memory, cluster
  deadlock,       // threads wait for threads that will never come
  divergence,     // threads of one warp or block are at different collectives
  exited,         // threads left before a barrier that counts on them
  mask,           // a wrong mask, or a source lane that does not take part
  bounds,         // outside of shared memory, of a registered buffer, or of a thread's stack
  uninitialised,  // a read of what nobody has written
  race,           // two accesses with no barrier in between
  misaligned,     // an address that the instruction does not take
  misuse,         // an instruction used against its rules
  runtime,        // a call of the CUDA runtime failed
};

/// Whole sentences: the kernel, what happened, the source line, block and thread.
class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& what) : std::runtime_error(what), fault(fault) {}
  Fault fault;
};

/// A kernel's name and where it was launched; made from a string at the call.
struct LaunchName {
  const char* text;
  const char* file;
  int line;
  LaunchName(const char* text, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : text(text), file(file), line(line) {}
};

/// What the machine allows a launch. The host executor answers as an H100 or H200 does.
struct Limits {
  std::size_t shared_per_block = 0;  // bytes of dynamic shared memory that a block may ask for
  unsigned max_cluster = 1;          // blocks; above 8 the launch asks for a non-portable size
  int architecture = 0;              // 90 for sm_90
  unsigned multiprocessors = 1;
  std::size_t cache_bytes = std::size_t(50) << 20;  // of the second level
};

}  // namespace simt
