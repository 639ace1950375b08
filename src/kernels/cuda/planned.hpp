// What a library offers for one problem: its plans, and how to run one. Implemented over cuDNN (cudnn_graph.cpp) and
// cublasLt (cublaslt.cpp); a stand-in for them is all that a test of the rest needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/runtime/device.hpp"

namespace fovea {

/// One way of computing it, as the library describes it.
struct PlanInfo {
  std::string engine;          // "eng47"; together with the knobs it names the plan
  std::string knobs;           // "tile_size=3 stages=4"
  std::int64_t workspace = 0;  // bytes
  bool deterministic = true;
  bool tf32 = false;  // products of f32 problems by tensor cores, in TF32
  bool approximate =
      false;  // by transforms (Winograd, FFT) or in a precision below f32: not as close as direct sums
  bool operator==(const PlanInfo&) const = default;
};

class PlannedOp {
 public:
  virtual ~PlannedOp() = default;
  /// In the library's own order of preference; none where it cannot compute this.
  virtual std::span<const PlanInfo> plans() const = 0;
  /// Why there are none, in the library's words; empty where it does not say.
  virtual std::string refusal() const { return ""; }
  /// Makes a plan ready to run, which may compile; throws Error where it cannot be.
  virtual void build(std::size_t plan) = 0;
  /// Queues a plan that was built. `tensors` are the ports of what was asked for, in their order.
  virtual void run(std::size_t plan, std::span<void* const> tensors, void* workspace, Stream stream) = 0;
};

}  // namespace fovea
