// Debug mode: finds the kernel that writes outside its tensors, leaves a hole in an output or makes a NaN, at the
// dispatch where it happens.
//
// While it is on, Storage surrounds what it hands out with red zones (a pattern), and dispatch() fills every
// output with a NaN of a recognisable payload before the kernel runs, and afterwards looks at the red zones of
// all ports and for NaN in all outputs. On a device this waits for every kernel and copies its results. Off, it
// costs one branch a dispatch and one an allocation. Holes in u8 outputs are not seen: every byte is a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

namespace detail {
inline bool debugging = false;
}
inline bool debug() { return detail::debugging; }
/// Before tensors are made: those that exist already have no red zones.
inline void set_debug(bool on) { detail::debugging = on; }

/// Fills a view with what arithmetic does not make: a NaN of a known payload, of integers 0xEE bytes.
void poison(const View& view);

/// One dispatch in debug mode: the constructor looks at inputs and poisons outputs, after_run() throws Error.
/// Throws for damage done before this kernel ran, too.
class DebugRun {
 public:
  DebugRun(const Primitive& primitive, const Kernel& kernel, const PortList& specs, Ports ports);
  void after_run() const;

 private:
  [[noreturn]] void fail_here(const std::string& what) const;
  void check_red_zones(bool before) const;
  void check_output(std::size_t port) const;

  const Primitive& primitive_;
  const Kernel& kernel_;
  const PortList& specs_;
  Ports ports_;
  std::string input_with_nan_;  // empty, or which input held NaN before the run, and where
};

// ---- red zones, for Storage

inline constexpr std::int64_t red_zone_bytes = 256;

/// Paints the zones around `bytes` at `data`, which has red_zone_bytes on both sides, and remembers them.
void add_red_zones(void* data, std::int64_t bytes, Device device);
/// Looks at them once more (damage is reported by the running dispatch, or by the next) and forgets them.
void remove_red_zones(void* data);

}  // namespace fovea
