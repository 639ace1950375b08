// The kernels of pointwise, for its tables, and what they share.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/pointwise/pointwise.hpp"

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

/// An element is kept where its random word is at least this.
std::uint64_t dropout_threshold(double p);
/// What kept elements are multiplied by: 1/(1-p), and 0 where none is kept.
double dropout_scale(double p);
/// The four words that decide elements 4*block .. 4*block+3; `key` is {seed, offset}.
std::array<std::uint32_t, 4> dropout_words(const std::int64_t* key, std::int64_t block);

void relu_forward_reference(const PointwiseProblem&, Ports, Stream);
void relu_backward_reference(const PointwiseProblem&, Ports, Stream);
void sigmoid_forward_reference(const PointwiseProblem&, Ports, Stream);
void sigmoid_backward_reference(const PointwiseProblem&, Ports, Stream);
void add_forward_reference(const BroadcastProblem&, Ports, Stream);
void add_backward_reference(const BroadcastProblem&, Ports, Stream);
void multiply_forward_reference(const BroadcastProblem&, Ports, Stream);
void multiply_backward_reference(const BroadcastProblem&, Ports, Stream);
void dropout_forward_reference(const DropoutProblem&, Ports, Stream);
void dropout_backward_reference(const DropoutProblem&, Ports, Stream);

void relu_forward_cpu(const PointwiseProblem&, Ports, Stream);
void relu_backward_cpu(const PointwiseProblem&, Ports, Stream);
void sigmoid_forward_cpu(const PointwiseProblem&, Ports, Stream);
void sigmoid_backward_cpu(const PointwiseProblem&, Ports, Stream);
void add_forward_cpu(const BroadcastProblem&, Ports, Stream);
void add_backward_cpu(const BroadcastProblem&, Ports, Stream);
void multiply_forward_cpu(const BroadcastProblem&, Ports, Stream);
void multiply_backward_cpu(const BroadcastProblem&, Ports, Stream);
void dropout_forward_cpu(const DropoutProblem&, Ports, Stream);
void dropout_backward_cpu(const DropoutProblem&, Ports, Stream);

}  // namespace fovea
