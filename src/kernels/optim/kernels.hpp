// The kernels of optim, for its tables, and the walk over chunks that they share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/optim/optim.hpp"

namespace fovea {

/// What both forms of a problem come down to.
std::vector<TensorRow> tensor_rows(const AdamProblem&, Ports);
std::vector<TensorRow> tensor_rows(const SgdProblem&, Ports);
std::vector<TensorRow> tensor_rows(const SumOfSquaresProblem&, Ports);

/// Elements [begin, end) of a tensor; small enough to spread over threads, large enough not to be felt.
struct Chunk {
  static constexpr std::int64_t size = 16384;
  const TensorRow* row = nullptr;
  std::int64_t begin = 0, end = 0;
};
inline std::vector<Chunk> chunks_of(const std::vector<TensorRow>& rows) {
  std::vector<Chunk> chunks;
  for (const TensorRow& row : rows) {
    for (std::int64_t at = 0; at < row.count; at += Chunk::size) {
      chunks.push_back({&row, at, std::min(row.count, at + Chunk::size)});
    }
  }
  return chunks;
}

template <class T>
T* array_at(std::int64_t address) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}

/// The numbers of an Adam update that are the same for all elements of a tensor.
struct AdamFactors {
  double param;      // param is multiplied by it first (decoupled weight decay)
  double decay;      // of the parameter, added to the gradient (weight decay otherwise)
  double step_size;  // learning_rate / (1-beta1^t)
  double root;       // 1 / sqrt(1-beta2^t)
};
AdamFactors adam_factors(const AdamProblem& problem, std::int64_t step);

void adam_reference(const AdamProblem&, Ports, Stream);
void sgd_reference(const SgdProblem&, Ports, Stream);
void sum_of_squares_reference(const SumOfSquaresProblem&, Ports, Stream);

void adam_cpu(const AdamProblem&, Ports, Stream);
void sgd_cpu(const SgdProblem&, Ports, Stream);
void sum_of_squares_cpu(const SumOfSquaresProblem&, Ports, Stream);

}  // namespace fovea
