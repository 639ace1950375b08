// The kernels of optim, for its tables, and the walk over chunks that they share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/optim/optim.hpp"
#include "simt/world.hpp"

namespace fovea {

/// The one row of the flat form.
TensorRow flat_row(const AdamProblem&, Ports);
TensorRow flat_row(const SgdProblem&, Ports);
TensorRow flat_row(const SumOfSquaresProblem&, Ports);

/// What both forms of a problem come down to, on the host.
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
SIMT_BOTH T* array_at(std::int64_t address) {
  return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
}

/// The numbers of an Adam update that are the same for all elements of a tensor.
struct AdamFactors {
  double param;      // param is multiplied by it first (decoupled weight decay)
  double decay;      // of the parameter, added to the gradient (weight decay otherwise)
  double step_size;  // learning_rate / (1-beta1^t)
  double root;       // 1 / sqrt(1-beta2^t)
};
SIMT_BOTH AdamFactors adam_factors(const AdamProblem& p, std::int64_t step) {
  const double t = static_cast<double>(step);
  return {p.decoupled ? 1 - p.learning_rate * p.weight_decay : 1, p.decoupled ? 0 : p.weight_decay,
          p.learning_rate / (1 - pow(p.beta1, t)), 1 / sqrt(1 - pow(p.beta2, t))};
}

SIMT_BOTH double clip_scale_of(double sum_of_squares, double clip_norm) {
  const double norm = sqrt(sum_of_squares);
  if (!(norm <= 1.7976931348623157e308)) return norm - norm;  // NaN, of infinity too
  const double scale = clip_norm / (norm + 1e-6);
  return clip_norm > 0 && scale < 1 ? scale : 1;
}

/// grad_scale times what the device-side scalar holds, if there is one.
SIMT_BOTH double scale_of(double grad_scale, const double* scale) {
  return scale == nullptr ? grad_scale : grad_scale * *scale;
}
/// Whether an update with this scale is made at all.
SIMT_BOTH bool is_usable(double scale) { return scale - scale == 0; }

/// The scalar port of an update.
template <class P>
const double* scale_port(const P& p, Ports ports) {
  constexpr std::size_t flat = std::is_same_v<P, AdamProblem> ? 4 : 3;
  return ports[p.tensors > 0 ? 1 : flat].template as<const double>();
}
/// The same, read on the host.
template <class P>
double host_scale(const P& p, Ports ports) {
  return scale_of(p.grad_scale, scale_port(p, ports));
}

void adam_reference(const AdamProblem&, Ports, Stream);
void sgd_reference(const SgdProblem&, Ports, Stream);
void sum_of_squares_reference(const SumOfSquaresProblem&, Ports, Stream);
void clip_scale_reference(const ClipScaleProblem&, Ports, Stream);

void adam_cpu(const AdamProblem&, Ports, Stream);
void sgd_cpu(const SgdProblem&, Ports, Stream);
void sum_of_squares_cpu(const SumOfSquaresProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                             //
    void adam_multi_tensor(const AdamProblem&, Ports, Stream);                    //
    void sgd_multi_tensor(const SgdProblem&, Ports, Stream);                      //
    void sum_of_squares_multi_tensor(const SumOfSquaresProblem&, Ports, Stream);  //
    void clip_scale_scalar(const ClipScaleProblem&, Ports, Stream);               //
    bool supports_adam_multi_tensor(const AdamProblem&);                          //
    bool supports_sgd_multi_tensor(const SgdProblem&);                            //
    bool supports_sum_of_squares_multi_tensor(const SumOfSquaresProblem&);        //
    bool supports_clip_scale_scalar(const ClipScaleProblem&);)

}  // namespace fovea
