// Workspace: one grow-only buffer for what a CPU kernel needs while it runs (reordered operands, scratchpads,
// tiles).
//
// Kernels run one at a time, so they share it; its contents are gone with the next take(). A kernel that
// dispatches others (a composed one) must not hold a workspace while it does.
#pragma once

#include <cstddef>

namespace fovea {

class Workspace {
 public:
  /// Starts a kernel run that needs `bytes` in all (the sum of rounded() parts).
  static Workspace take(std::size_t bytes);
  /// Gives the buffer back until the next take(): it keeps the size of the largest problem there ever was.
  static void release();
  /// What the buffer holds now, and the way back to it after a run that leaves no trace: see runtime/observed.hpp.
  static std::size_t size();
  static void restore(std::size_t size);
  /// The next part, 64-byte aligned.
  void* next(std::size_t bytes);
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  std::byte* at_ = nullptr;
};

}  // namespace fovea
