// Cases of batch_norm: few rows, one channel, channels that no vector divides, a mean far from zero, and more
// rows than one part of the vectorised kernels takes.
#pragma once

#include <cmath>
#include <utility>

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/norm/norm.hpp"

namespace fovea::cases {

inline void run_reference(const Primitive& primitive, const void* problem, const PortTensors& ports) {
  std::vector<View> views;
  for (const Tensor& t : ports) views.push_back(t.view());
  for (const Kernel& k : primitive.kernels) {
    if (k.backend == Backend::reference) k.run(problem, views, {});
  }
}

inline void make_positive(const Tensor& t) {
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<double>()[i] = 0.5 + std::abs(t.data<double>()[i]);
}

// Moves x where z is so close to the ReLU's kink that rounding decides the mask.
inline void avoid_kinks(const BatchNormProblem& p, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                        const Tensor& mean, const std::vector<double>& invstd) {
  if (!p.relu) return;
  for (std::int64_t i = 0; i < p.rows * p.channels; ++i) {
    const std::int64_t c = i % p.channels;
    double& value = p.x_slice.first_of<double>(x.view())[i / p.channels * p.x_slice.pitch(p.channels) + c];
    const double slope = gamma.data<double>()[c] * invstd[static_cast<std::size_t>(c)];
    const double z = (value - mean.data<double>()[c]) * slope + beta.data<double>()[c];
    if (std::abs(z) < 1e-3) value += 2e-3 / slope;
  }
}

inline void prepare_backward(const BatchNormProblem& p, PortTensors& ports) {
  const Tensor &x = ports[0], &gamma = ports[2], &beta = ports[3], &mean = ports[4], &invstd = ports[5];
  const Shape channels{p.channels};
  run_reference(batch_norm_forward_training, &p,
                {x, gamma, beta, Tensor::zeros(channels, Dtype::f64), Tensor::full(channels, 1, Dtype::f64),
                 Tensor::empty(p.y_shape(), Dtype::f64), mean, invstd});
  avoid_kinks(p, x, gamma, beta, mean, invstd.to_doubles());
}

inline void prepare_backward_inference(const BatchNormProblem& p, PortTensors& ports) {
  make_positive(ports[5]);
  std::vector<double> invstd = ports[5].to_doubles();
  for (double& v : invstd) v = 1 / std::sqrt(v + p.eps);
  avoid_kinks(p, ports[0], ports[2], ports[3], ports[4], invstd);
}

// x of channel c around 50 (c + 1), with deviations of about one.
inline void move_away_from_zero(const BatchNormProblem& p, PortTensors& ports) {
  for (std::int64_t i = 0; i < ports[0].numel(); ++i) {
    ports[0].data<double>()[i] += 50.0 * static_cast<double>(i % p.channels + 1);
  }
  make_positive(ports[4]);
}

/// Of which x, y or both are channels of larger images: between vectors and at them, up to both ends.
inline void norm_slice_cases(std::vector<PrimitiveCase>& cases) {
  using P = BatchNormProblem;
  const std::vector<std::pair<const char*, P>> problems{
      {"x a slice", {.rows = 98, .channels = 64, .x_slice = {0, 96}}},
      {"y a slice", {.rows = 75, .channels = 32, .y_slice = {16, 48}}},
      {"both slices, of odd channels", {.rows = 63, .channels = 13, .x_slice = {2, 20}, .y_slice = {7, 31}}},
      {"x between vectors", {.rows = 33, .channels = 16, .x_slice = {3, 24}}},
      {"y between vectors", {.rows = 21, .channels = 24, .y_slice = {8, 37}}},
      {"slices between vectors", {.rows = 40, .channels = 16, .x_slice = {5, 32}, .y_slice = {0, 18}}},
      {"slices of many parts", {.rows = 4099, .channels = 20, .x_slice = {4, 24}, .y_slice = {12, 40}}},
      {"slices that are all", {.rows = 9, .channels = 8, .x_slice = {0, 8}, .y_slice = {0, 8}}},
  };
  const auto positive = [](const P&, PortTensors& ports) { make_positive(ports[4]); };
  for (const auto& [label, problem] : problems) {
    for (const bool relu : {false, true}) {
      P p = problem;
      p.relu = relu;
      const std::string name = label + std::string(relu ? ", relu" : "");
      cases.push_back(make_case<P>(batch_norm_forward_training, name, p, positive));
      cases.push_back(make_case<P>(batch_norm_forward_inference, name, p, positive));
      for (const std::int64_t added : {0, 1}) {
        p.accumulate = added;
        const std::string to = name + (added ? ", added to dx" : "");
        cases.push_back(make_case<P>(batch_norm_backward, to, p, prepare_backward));
        cases.push_back(make_case<P>(batch_norm_backward_inference, to, p, prepare_backward_inference));
      }
    }
  }
  const P added{.rows = 130, .channels = 24, .accumulate = 1};
  cases.push_back(make_case<P>(batch_norm_backward, "added to dx", added, prepare_backward));
  cases.push_back(
      make_case<P>(batch_norm_backward_inference, "added to dx", added, prepare_backward_inference));
  const P many_rows{.rows = 65539, .channels = 64, .y_slice = {32, 128}};
  cases.push_back(large(
      make_case<P>(batch_norm_forward_inference, "a slice larger than the caches", many_rows, positive)));
}

inline void norm_cases(std::vector<PrimitiveCase>& cases) {
  norm_slice_cases(cases);
  using P = BatchNormProblem;
  const std::vector<std::pair<const char*, P>> problems{
      {"three rows", {.rows = 3, .channels = 5}},
      {"one channel", {.rows = 77, .channels = 1}},
      {"odd channels", {.rows = 63, .channels = 13, .eps = 1e-3}},
      {"whole vectors", {.rows = 98, .channels = 64, .momentum = 0.3}},
      {"many parts", {.rows = 4099, .channels = 20}},
      {"more parts than one thread has", {.rows = 531, .channels = 512}},
      {"few rows of many channels", {.rows = 5, .channels = 1000}},
  };
  const auto positive = [](const P&, PortTensors& ports) { make_positive(ports[4]); };
  for (const auto& [label, problem] : problems) {
    for (const bool relu : {false, true}) {
      P p = problem;
      p.relu = relu;
      const std::string name = label + std::string(relu ? ", relu" : "");
      cases.push_back(make_case<P>(batch_norm_forward_training, name, p, positive));
      cases.push_back(make_case<P>(batch_norm_forward_inference, name, p, positive));
      // The norm of one channel's dgamma is that of a sum which may come out small.
      const double of_one_sum = p.channels == 1 ? 2e-6 : 0;
      cases.push_back(make_case<P>(batch_norm_backward, name, p, prepare_backward, 1, of_one_sum));
      cases.push_back(make_case<P>(batch_norm_backward_inference, name, p, prepare_backward_inference));
    }
  }
  for (const bool relu : {false, true}) {
    const P one{.relu = relu, .rows = 1, .channels = 17};
    cases.push_back(
        make_case<P>(batch_norm_forward_inference, relu ? "one row, relu" : "one row", one, positive));
    cases.push_back(make_case<P>(batch_norm_backward_inference, relu ? "one row, relu" : "one row", one,
                                 prepare_backward_inference));
  }
  // Forward alone: of two rows dx is zero but for eps, so its digits are those of rounding.
  cases.push_back(
      make_case<P>(batch_norm_forward_training, "two rows", P{.rows = 2, .channels = 5}, positive));
  const P many_rows{.relu = 1, .rows = 65539, .channels = 64};
  const char* past_caches = "larger than the caches";
  cases.push_back(large(make_case<P>(batch_norm_forward_inference, past_caches, many_rows, positive)));
  cases.push_back(large(make_case<P>(batch_norm_backward, past_caches, many_rows, prepare_backward)));
  // In fp32 x itself is rounded, relative to its mean: half an ulp of 1000 is 3e-5 deviations.
  cases.push_back(make_case<P>(batch_norm_forward_training, "mean far from zero",
                               P{.rows = 1000, .channels = 18}, move_away_from_zero, 100));
}

inline void norm_grad_cases(std::vector<GradCase>& cases) {
  struct Small {
    const char* label;
    Shape x;
    BatchNormOptions options;
  };
  const std::vector<Small> all{
      {"training", {2, 3, 2, 3}, {}},
      {"training, relu", {2, 3, 2, 3}, {.activation = Activation::relu}},
      {"training, rows x channels", {5, 4}, {.eps = 1e-3}},
      {"inference", {2, 2, 3, 3}, {.training = false}},
      {"inference, relu", {2, 2, 3, 3}, {.training = false, .activation = Activation::relu}},
  };
  for (const Small& small : all) {
    cases.push_back({"batch_norm", small.label,
                     [small] {
                       const Shape channels{small.x[-1]};
                       return std::vector<Tensor>{random_tensor(small.x, 1), random_tensor(channels, 2),
                                                  random_tensor(channels, 3)};
                     },
                     [small](const std::vector<Tensor>& in) {
                       const Shape channels{small.x[-1]};
                       return batch_norm(in[0], in[1], in[2], random_tensor(channels, 4).to(in[0].device()),
                                         Tensor::full(channels, 0.8, Dtype::f64, in[0].device()),
                                         small.options);
                     }});
  }
  // Of an image's first three channels into channels of another, and of the whole image beside it, so that one adds to
  // the other's gradient.
  for (const bool training : {true, false}) {
    cases.push_back({"batch_norm", training ? "slices, training" : "slices, inference",
                     [] {
                       return std::vector<Tensor>{random_tensor({2, 2, 3, 5}, 1), random_tensor({3}, 2),
                                                  random_tensor({3}, 3), random_tensor({5}, 4),
                                                  random_tensor({5}, 5)};
                     },
                     [training](const std::vector<Tensor>& in) {
                       const Device device = in[0].device();
                       const auto norm = [&](std::size_t at, std::int64_t channels, const Into& into) {
                         return batch_norm(in[0], in[at], in[at + 1], random_tensor({channels}, 6).to(device),
                                           Tensor::full({channels}, 0.8, Dtype::f64, device),
                                           {.training = training,
                                            .activation = Activation::relu,
                                            .first_channels = channels == 5 ? 0 : channels},
                                           into);
                       };
                       const Tensor image = norm(1, 3, {Tensor::zeros({2, 2, 3, 12}, Dtype::f64, device), 9});
                       return norm(3, 5, {norm(1, 3, {image, 0}), 3});
                     }});
  }
}

}  // namespace fovea::cases
