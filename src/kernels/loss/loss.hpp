// loss: softmax cross-entropy of logits N,K against labels, with class weights and label smoothing.
//
//   p[n,k] = exp(z[n,k] - max_k z[n]) / sum_k exp(...)        lp = log p, computed without p
//   L = ( sum_n (1-e) w[y_n] (-lp[n,y_n]) + e/K sum_k w[k] (-lp[n,k]) ) / sum_n w[y_n]
//   dz[n,k] = dL / sum_n w[y_n] * ( (1-e) w[y_n] (p[n,k] - [k = y_n]) + e/K (p[n,k] sum_j w[j] - w[k]) )
//
// Exactly torch.nn.functional.cross_entropy(weight, label_smoothing, reduction = "mean"), which weighs the
// smoothed part by class too and divides both by the weights of the labels; w = 1 without class weights.
// Labels outside [0, K) and class weights that are negative, not finite or zero for every label present are
// Errors (torch returns NaN).
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

}  // namespace fovea
