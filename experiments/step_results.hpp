// StepResults: the loss and the gradient norm of a training step, read when they have come from the device.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "autograd/tensor.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/stream.hpp"

namespace fovea {

struct StepResult {
  std::int64_t step = 0, samples = 0;  // step counts from 1
  double loss = 0;
  double squares = 0;  // sum of squares of all gradients
};

class StepResults {
 public:
  explicit StepResults(Device device) : device_(device) {}

  /// Begins to fetch scalars that the step leaves on the device.
  void put(std::int64_t step, std::int64_t samples, const Tensor& loss, const Tensor& squares);
  /// The oldest, where more than `behind` are on their way; waits for it.
  std::optional<StepResult> take(std::size_t behind);

 private:
  struct Pending {
    StepResult result;
    std::unique_ptr<PinnedMemory> loss, squares;
    std::unique_ptr<Event> arrived;
  };
  Device device_;
  std::deque<Pending> pending_;
  std::deque<Pending> free_;  // to be used again
};

}  // namespace fovea
