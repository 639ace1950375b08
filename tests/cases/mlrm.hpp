// Cases of mlrm: one to four branches, dilations beyond the image, one image, odd sizes, gradients of one
// part only.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/mlrm/mlrm.hpp"

namespace fovea::cases {

inline std::vector<std::pair<const char*, MlrmProblem>> mlrm_problems() {
  return {
      {"rates 1 2 4", {.branches = 3, .n = 2, .h = 7, .w = 6, .c = 16, .dilations = {1, 2, 4}}},
      {"one branch, one image", {.branches = 1, .n = 1, .h = 5, .w = 9, .c = 8, .dilations = {3}}},
      {"four branches, beyond the image",
       {.branches = 4, .n = 2, .h = 3, .w = 4, .c = 8, .dilations = {1, 3, 5, 9}}},
      {"odd channels, momentum 1, eps 1e-3",
       {.branches = 2, .n = 3, .h = 4, .w = 5, .c = 13, .dilations = {1, 3}, .eps = 1e-3, .momentum = 1}},
      // With a small eps the gradient through the statistics of two pixels is zero but for rounding.
      {"two pixels", {.branches = 3, .n = 1, .h = 1, .w = 2, .c = 4, .dilations = {1, 2, 3}, .eps = 30}},
      {"14x14", {.branches = 3, .n = 1, .h = 14, .w = 14, .c = 32, .dilations = {1, 2, 4}}},
  };
}

// A variance, positive and of the order of the convolution's output.
inline void make_variance(Tensor& t, std::int64_t c) {
  double* values = t.data<double>();
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    values[i] = static_cast<double>(9 * c) * (0.5 + values[i] * values[i]);
  }
}

inline void prepare_mlrm_forward(const MlrmProblem& p, PortTensors& ports) {
  for (std::int32_t b = 0; b < p.branches; ++b)
    make_variance(ports[static_cast<std::size_t>(5 + 5 * b)], p.c);
}

// z, mean and invstd as the reference forward makes them.
inline void prepare_mlrm_backward(const MlrmProblem& p, PortTensors& ports) {
  const Tensor y = Tensor::empty(p.x_shape(), Dtype::f64);
  std::vector<Tensor> running;
  std::vector<View> forward{ports[0].view()}, outputs{y.view()};
  for (std::int32_t b = 0; b < p.branches; ++b) {
    const auto at = static_cast<std::size_t>(2 + 6 * b);
    running.push_back(Tensor::zeros({p.c}, Dtype::f64));
    running.push_back(Tensor::full({p.c}, 1, Dtype::f64));
    for (std::size_t i = 0; i < 3; ++i) forward.push_back(ports[at + i].view());
    forward.push_back(running[running.size() - 2].view());
    forward.push_back(running.back().view());
    for (std::size_t i = 3; i < 6; ++i) outputs.push_back(ports[at + i].view());
  }
  forward.insert(forward.end(), outputs.begin(), outputs.end());
  SelectionScope scope;
  selection().force("mlrm.forward_training=reference");
  dispatch(mlrm_forward_training, p, Ports(forward));
}

inline void prepare_mlrm_backward_inference(const MlrmProblem& p, PortTensors& ports) {
  for (std::int32_t b = 0; b < p.branches; ++b)
    make_variance(ports[static_cast<std::size_t>(6 + 5 * b)], p.c);
}

inline void mlrm_cases(std::vector<PrimitiveCase>& cases) {
  using Prepare = std::function<void(const MlrmProblem&, PortTensors&)>;
  // The optional ports are dx, after the `per_branch` inputs of each branch, and every third from the next
  // on.
  const auto without = [](Prepare prepare, std::size_t per_branch, bool dx, bool dw) -> Prepare {
    return [=](const MlrmProblem& p, PortTensors& ports) {
      prepare(p, ports);
      const std::size_t at = 2 + per_branch * static_cast<std::size_t>(p.branches);
      if (dx) ports[at] = {};
      for (std::size_t i = at + 1; dw && i < ports.size(); i += 3) ports[i] = {};
    };
  };
  for (const auto& [label, p] : mlrm_problems()) {
    const std::string name = label;
    const Prepare backward = prepare_mlrm_backward, inference = prepare_mlrm_backward_inference;
    cases.push_back(make_case<MlrmProblem>(mlrm_forward_training, name, p, prepare_mlrm_forward));
    cases.push_back(make_case<MlrmProblem>(mlrm_forward_inference, name, p, prepare_mlrm_forward));
    const double tolerance = 10;  // dz, through batch statistics, is a difference of larger terms
    // dz is kept in bf16; with running statistics z is, too, and pixels near zero change sides.
    const double dz_error = 0x1p-8, z_error = 0.1;
    cases.push_back(make_case<MlrmProblem>(mlrm_backward, name, p, backward, tolerance, dz_error));
    cases.push_back(make_case<MlrmProblem>(mlrm_backward, name + ", no dx", p,
                                           without(backward, 6, true, false), tolerance, dz_error));
    cases.push_back(make_case<MlrmProblem>(mlrm_backward, name + ", no dw", p,
                                           without(backward, 6, false, true), tolerance, dz_error));
    cases.push_back(make_case<MlrmProblem>(mlrm_backward_inference, name, p, inference, 1, z_error));
    cases.push_back(make_case<MlrmProblem>(mlrm_backward_inference, name + ", no dw", p,
                                           without(inference, 5, false, true), 1, z_error));
  }
}

inline void mlrm_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape x;
    std::vector<std::int64_t> dilations;
  };
  const std::vector<Small> all{{"rates 1 2 4", {2, 3, 4, 2}, {1, 2, 4}},
                               {"one branch, one image", {1, 4, 3, 2}, {2}},
                               {"four branches", {2, 2, 3, 2}, {1, 2, 3, 5}}};
  for (const Small& small : all) {
    for (const bool training : {true, false}) {
      cases.push_back({"mlrm", std::string(small.label) + (training ? "" : ", inference"),
                       [small] {
                         const std::int64_t c = small.x[3];
                         std::vector<Tensor> inputs{random_tensor(small.x, 1)};
                         for (std::uint64_t b = 0; b < small.dilations.size(); ++b) {
                           inputs.push_back(random_tensor({c, 3, 3, c}, 10 + b));
                           inputs.push_back(random_tensor({c}, 20 + b, Dtype::f64, 0.3, 1));
                           inputs.push_back(random_tensor({c}, 30 + b, Dtype::f64, 0.5, 0.3));
                         }
                         return inputs;
                       },
                       [small, training](const std::vector<Tensor>& in) {
                         const std::int64_t c = small.x[3];
                         std::vector<MlrmBranch> branches;
                         for (std::size_t b = 0; b < small.dilations.size(); ++b) {
                           branches.push_back({in[1 + 3 * b], in[2 + 3 * b], in[3 + 3 * b],
                                               Tensor::full({c}, 0.4, Dtype::f64, in[0].device()),
                                               Tensor::full({c}, 6, Dtype::f64, in[0].device()),
                                               small.dilations[b]});
                         }
                         return mlrm(in[0], branches, {.training = training});
                       }});
    }
  }
}

}  // namespace fovea::cases
