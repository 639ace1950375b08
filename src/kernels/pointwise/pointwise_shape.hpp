// Broadcasts as loops, and dropout's constants: pure functions that kernels of every backend share.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/pointwise/pointwise.hpp"
#include "simt/world.hpp"

namespace fovea {

/// A broadcast as nested loops over y, with as few dimensions as possible: neighbours that a and b walk alike
/// are merged, ones are dropped. At least one dimension remains; the last one walks a and b in steps of 0
/// or 1.
struct BroadcastLoops {
  int rank = 0;
  std::array<std::int64_t, Shape::max_rank> size{};
  std::array<std::int64_t, Shape::max_rank> a_stride{}, b_stride{};  // in elements, 0 where broadcast
};
BroadcastLoops broadcast_loops(const BroadcastProblem& problem);

/// An element's offset in y and in the other operand.
struct BroadcastPlace {
  std::int64_t y = 0, other = 0;
};

/// Some of the loops' dimensions, without the innermost. Plain arrays, for devices.
struct BroadcastOffsets {
  int rank = 0;
  std::int64_t count = 1;  // of indices
  std::int64_t size[Shape::max_rank]{}, in_y[Shape::max_rank]{}, in_other[Shape::max_rank]{};
  /// The place that lies `index`, of all these dimensions together, behind `place`. The outermost takes what is left, so
  /// one dimension needs no division.
  SIMT_BOTH BroadcastPlace behind(BroadcastPlace place, std::int64_t index) const {
    for (int i = rank - 1; i >= 0; --i) {
      const std::int64_t outer = i > 0 ? index / size[i] : 0, mine = index - outer * size[i];
      place.y += mine * in_y[i];
      place.other += mine * in_other[i];
      index = outer;
    }
    return place;
  }
};

/// The gradient of one operand: dy (times the other operand) summed over the dimensions in which it is held.
struct BroadcastSum {
  BroadcastOffsets kept, summed;
  std::int64_t length = 1;   // of the innermost dimension
  bool inner_kept = false;   // else it is summed
  bool other_walks = false;  // along it
};
BroadcastSum broadcast_sum(const BroadcastLoops& loops, bool of_a);

/// An element is kept where its random word is at least this.
std::uint64_t dropout_threshold(double p);
/// What kept elements are multiplied by: 1/(1-p), and 0 where none is kept.
double dropout_scale(double p);

}  // namespace fovea
