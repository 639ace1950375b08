// loss: softmax cross-entropy of logits N,K against labels, with class weights and label smoothing; and the softmax
// alone, y = p, dx = p (dy - sum_k p dy).
//
//   p[n,k] = exp(z[n,k] - max_k z[n]) / sum_k exp(...)        lp = log p, computed without p
//   L = ( sum_n (1-e) w[y_n] (-lp[n,y_n]) + e/K sum_k w[k] (-lp[n,k]) ) / sum_n w[y_n]
//   dz[n,k] = dL / sum_n w[y_n] * ( (1-e) w[y_n] (p[n,k] - [k = y_n]) + e/K (p[n,k] sum_j w[j] - w[k]) )
//
// Exactly torch.nn.functional.cross_entropy(weight, label_smoothing, reduction = "mean"), which weighs the
// smoothed part by class too and divides both by the weights of the labels; w = 1 without class weights.
// Labels outside [0, K) and class weights that are negative, not finite or zero for every label present are
// Errors where the host reads them; on a device, which cannot throw, the loss and all gradients are NaN.
//
// Of a bf16 problem the logits and their gradient are bf16, all else f32. The softmax alone is of one dtype.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct CrossEntropyProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 1;          // rows
  std::int64_t k = 1;          // classes
  double label_smoothing = 0;  // e, in [0, 1]
  void check() const;
};

/// Ports: logits (n,k), labels (n, i64), class_weights (k, optional), loss (scalar), probabilities (n,k).
extern const PrimitiveOf<CrossEntropyProblem> softmax_cross_entropy_forward;
/// Ports: probabilities, labels, class_weights (optional), dloss (scalar), dlogits (n,k).
extern const PrimitiveOf<CrossEntropyProblem> softmax_cross_entropy_backward;

/// Of each row.
struct SoftmaxProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 1, k = 1;
  void check() const;
};
/// Ports: x (n,k), y (n,k).
extern const PrimitiveOf<SoftmaxProblem> softmax_forward;
/// Ports: y, dy, dx (all n,k).
extern const PrimitiveOf<SoftmaxProblem> softmax_backward;

}  // namespace fovea
