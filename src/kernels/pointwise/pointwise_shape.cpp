// See pointwise_shape.hpp. The shape check and the shape of a broadcast's result stand here, too.
#include "kernels/pointwise/pointwise_shape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace fovea {
namespace {

// Dimension i of the shape once it is aligned to the right of `rank` dimensions.
std::int64_t aligned(const Shape& shape, int rank, int i) {
  const int own = i - (rank - shape.rank());
  return own < 0 ? 1 : shape[own];
}

}  // namespace

Shape BroadcastProblem::y_shape() const {
  const int rank = std::max(a.rank(), b.rank());
  Shape y;
  for (int i = 0; i < rank; ++i) {
    const std::int64_t da = aligned(a, rank, i), db = aligned(b, rank, i);
    y.push_back(da == 1 ? db : da);
  }
  return y;
}

void BroadcastProblem::check() const {
  const int rank = std::max(a.rank(), b.rank());
  for (int i = 0; i < rank; ++i) {
    const std::int64_t da = aligned(a, rank, i), db = aligned(b, rank, i);
    if (da < 0 || db < 0 || (da != db && da != 1 && db != 1)) {
      fail(fmt::format("shapes {} and {} do not broadcast: matched from the last dimension, {} meets {}",
                       to_string(a), to_string(b), da, db));
    }
  }
}

BroadcastLoops broadcast_loops(const BroadcastProblem& problem) {
  const Shape y = problem.y_shape();
  BroadcastLoops loops;
  bool a_walks_before = false, b_walks_before = false;
  for (int i = 0; i < y.rank(); ++i) {
    const bool a_walks = aligned(problem.a, y.rank(), i) != 1, b_walks = aligned(problem.b, y.rank(), i) != 1;
    if (y[i] == 1) continue;
    if (loops.rank > 0 && a_walks == a_walks_before && b_walks == b_walks_before) {
      loops.size[static_cast<std::size_t>(loops.rank - 1)] *= y[i];
      continue;
    }
    const auto at = static_cast<std::size_t>(loops.rank++);
    loops.size[at] = y[i];
    loops.a_stride[at] = a_walks_before = a_walks;
    loops.b_stride[at] = b_walks_before = b_walks;
  }
  if (loops.rank == 0) {
    loops.rank = 1;
    loops.size[0] = loops.a_stride[0] = loops.b_stride[0] = 1;
  }
  // The strides say so far whether an operand walks a dimension; inner sizes turn that into elements.
  std::int64_t a_step = 1, b_step = 1;
  for (int i = loops.rank - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    if (loops.a_stride[at] != 0) {
      loops.a_stride[at] = a_step;
      a_step *= loops.size[at];
    }
    if (loops.b_stride[at] != 0) {
      loops.b_stride[at] = b_step;
      b_step *= loops.size[at];
    }
  }
  return loops;
}

BroadcastSum broadcast_sum(const BroadcastLoops& loops, bool of_a) {
  const auto& own = of_a ? loops.a_stride : loops.b_stride;
  const auto& other = of_a ? loops.b_stride : loops.a_stride;
  const auto last = static_cast<std::size_t>(loops.rank - 1);
  BroadcastSum sum;
  sum.length = loops.size[last];
  sum.inner_kept = own[last] != 0;
  sum.other_walks = other[last] != 0;
  for (std::size_t i = 0; i < last; ++i) {
    BroadcastOffsets& part = own[i] != 0 ? sum.kept : sum.summed;
    const int at = part.rank++;
    part.size[at] = loops.size[i];
    part.in_y[at] = 1;
    for (std::size_t inner = i + 1; inner <= last; ++inner) part.in_y[at] *= loops.size[inner];
    part.in_other[at] = other[i];
    part.count *= loops.size[i];
  }
  return sum;
}

std::uint64_t dropout_threshold(double p) { return static_cast<std::uint64_t>(std::ceil(p * 0x1p32)); }

double dropout_scale(double p) { return p < 1 ? 1 / (1 - p) : 0; }

}  // namespace fovea
