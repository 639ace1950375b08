// Branches of one kernel on streams of their own, for composed kernels whose parts do not fill the device: they begin
// after what the kernel's stream was given so far, and what it is given next waits for them. Under a graph capture they
// become branches of the graph.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/runtime/stream.hpp"

namespace fovea {

class Branches {
 public:
  explicit Branches(Stream stream);

  /// The stream of branch i; that of branch 0 is the kernel's own.
  Stream begin(std::size_t i);
  /// The kernel's stream waits for all that were begun.
  void join();

 private:
  Stream stream_;
  Event fork_;
  std::vector<Stream> begun_;
};

}  // namespace fovea
