// See step_results.hpp.
#include "step_results.hpp"

#include <utility>

namespace fovea {
namespace {

double value_in(const PinnedMemory& memory) {
  return visit_float(memory.view().dtype,
                     [&](auto zero) { return static_cast<double>(*memory.view().as<decltype(zero)>()); });
}

}  // namespace

void StepResults::put(std::int64_t step, std::int64_t samples, const Tensor& loss, const Tensor& squares) {
  Pending next;
  if (!free_.empty()) {
    next = std::move(free_.front());
    free_.pop_front();
  } else {
    next.loss = std::make_unique<PinnedMemory>(loss.shape(), loss.dtype(), device_);
    next.squares = std::make_unique<PinnedMemory>(squares.shape(), squares.dtype(), device_);
    next.arrived = std::make_unique<Event>(device_);
  }
  next.result = {.step = step, .samples = samples};
  copy_async(next.loss->view(), loss.view());
  copy_async(next.squares->view(), squares.view());
  next.arrived->record(current_stream(device_));
  pending_.push_back(std::move(next));
}

std::optional<StepResult> StepResults::take(std::size_t behind) {
  if (pending_.size() <= behind) return std::nullopt;
  Pending oldest = std::move(pending_.front());
  pending_.pop_front();
  oldest.arrived->synchronize();
  oldest.result.loss = value_in(*oldest.loss);
  oldest.result.squares = value_in(*oldest.squares);
  const StepResult result = oldest.result;
  free_.push_back(std::move(oldest));
  return result;
}

}  // namespace fovea
