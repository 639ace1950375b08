// The kernels of mlrm, for its tables, and where its ports lie.
#pragma once

#include "kernels/mlrm/mlrm.hpp"

namespace fovea {

/// The ports of one branch in a list of `per_branch` ports per branch that starts at `first`.
inline Ports mlrm_branch(Ports ports, std::size_t first, std::size_t per_branch, std::int64_t branch) {
  return ports.subspan(first + per_branch * static_cast<std::size_t>(branch), per_branch);
}

/// Forward: w, gamma, beta, running_mean, running_var of a branch, y, and (training) z, mean, invstd of a
/// branch.
inline Ports mlrm_forward_in(Ports ports, std::int64_t branch) { return mlrm_branch(ports, 1, 5, branch); }
inline const View& mlrm_forward_y(const MlrmProblem& p, Ports ports) {
  return ports[1 + 5 * static_cast<std::size_t>(p.branches)];
}
inline Ports mlrm_forward_out(const MlrmProblem& p, Ports ports, std::int64_t branch) {
  return mlrm_branch(ports, 2 + 5 * static_cast<std::size_t>(p.branches), 3, branch);
}

/// Backward, with 6 inputs per branch through batch statistics and 5 with constant ones: those of a branch,
/// dx, and dw, dgamma, dbeta of a branch.
inline Ports mlrm_backward_in(Ports ports, std::size_t per_branch, std::int64_t branch) {
  return mlrm_branch(ports, 2, per_branch, branch);
}
inline const View& mlrm_backward_dx(const MlrmProblem& p, Ports ports, std::size_t per_branch) {
  return ports[2 + per_branch * static_cast<std::size_t>(p.branches)];
}
inline Ports mlrm_backward_out(const MlrmProblem& p, Ports ports, std::size_t per_branch,
                               std::int64_t branch) {
  return mlrm_branch(ports, 3 + per_branch * static_cast<std::size_t>(p.branches), 3, branch);
}

void mlrm_forward_training_reference(const MlrmProblem&, Ports, Stream);
void mlrm_forward_inference_reference(const MlrmProblem&, Ports, Stream);
void mlrm_backward_reference(const MlrmProblem&, Ports, Stream);
void mlrm_backward_inference_reference(const MlrmProblem&, Ports, Stream);

void mlrm_forward_training_composed(const MlrmProblem&, Ports, Stream);
void mlrm_forward_inference_composed(const MlrmProblem&, Ports, Stream);
void mlrm_forward_inference_folded(const MlrmProblem&, Ports, Stream);
void mlrm_backward_composed(const MlrmProblem&, Ports, Stream);
void mlrm_backward_inference_composed(const MlrmProblem&, Ports, Stream);

bool mlrm_forward_training_cudnn_supports(const MlrmProblem&);
void mlrm_forward_training_composed_cudnn(const MlrmProblem&, Ports, Stream);
bool mlrm_forward_training_statistics_supports(const MlrmProblem&);
void mlrm_forward_training_statistics_cudnn(const MlrmProblem&, Ports, Stream);
bool mlrm_forward_inference_cudnn_supports(const MlrmProblem&);
void mlrm_forward_inference_composed_cudnn(const MlrmProblem&, Ports, Stream);
bool mlrm_backward_cudnn_supports(const MlrmProblem&);
void mlrm_backward_composed_cudnn(const MlrmProblem&, Ports, Stream);
bool mlrm_backward_inference_cudnn_supports(const MlrmProblem&);
void mlrm_backward_inference_composed_cudnn(const MlrmProblem&, Ports, Stream);
void mlrm_forward_training_composed_graph(const MlrmProblem&, Ports, Stream);
void mlrm_forward_inference_composed_graph(const MlrmProblem&, Ports, Stream);
void mlrm_backward_composed_graph(const MlrmProblem&, Ports, Stream);
void mlrm_backward_inference_composed_graph(const MlrmProblem&, Ports, Stream);

FOVEA_IN_BOTH_WORLDS(                                                       //
    bool supports_mlrm_grouped(const MlrmProblem&);                         //
    void mlrm_forward_training_grouped(const MlrmProblem&, Ports, Stream);  //
    void mlrm_forward_inference_fused(const MlrmProblem&, Ports, Stream);   //
    void mlrm_backward_grouped(const MlrmProblem&, Ports, Stream);          //
    void mlrm_backward_inference_grouped(const MlrmProblem&, Ports, Stream);)

}  // namespace fovea
