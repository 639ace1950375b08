// Cases of layer_norm: few channels, channels that no vector divides, one row, rows that registers hold and longer ones,
// more rows than a part has, a mean far from zero.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "cases/norm.hpp"
#include "kernels/layer_norm/layer_norm.hpp"

namespace fovea::cases {

inline void layer_norm_cases(std::vector<PrimitiveCase>& cases) {
  using P = LayerNormProblem;
  const std::vector<std::pair<const char*, P>> problems{
      {"two channels", {.rows = 5, .channels = 2}},
      {"odd channels", {.rows = 21, .channels = 13, .eps = 1e-6}},
      {"whole vectors", {.rows = 35, .channels = 96, .eps = 1e-6}},
      {"one row", {.rows = 1, .channels = 64}},
      {"one row, odd", {.rows = 1, .channels = 99}},
      {"many rows", {.rows = 1111, .channels = 24}},
      {"a lane's eight vectors", {.rows = 9, .channels = 768}},
      {"eight single values", {.rows = 9, .channels = 255}},
      {"longer than registers", {.rows = 6, .channels = 2312}},
      {"longer than registers, odd", {.rows = 5, .channels = 1301}},
  };
  const auto statistics = [](const P& p, PortTensors& ports) {
    const Tensor y = Tensor::empty(p.x_shape(), Dtype::f64);
    run_reference(layer_norm_forward, &p, {ports[0], ports[2], ports[2], y, ports[3], ports[4]});
  };
  for (const auto& [label, p] : problems) {
    const std::string name = label;
    // Of two channels h is +1 and -1 up to eps, so the digits of dx are those of rounding.
    const double of_two = p.channels == 2 ? 300 : 1;
    cases.push_back(make_case<P>(layer_norm_forward, name, p));
    cases.push_back(make_case<P>(layer_norm_forward, name + ", y alone", p,
                                 [](const P&, PortTensors& ports) { ports[4] = ports[5] = {}; }));
    cases.push_back(make_case<P>(layer_norm_backward, name, p, statistics, of_two));
  }
  // In fp32 x itself is rounded, relative to its mean: half an ulp of 1000 is 3e-5 deviations.
  cases.push_back(make_case<P>(
      layer_norm_forward, "mean far from zero", P{.rows = 7, .channels = 100},
      [](const P& p, PortTensors& ports) {
        for (std::int64_t i = 0; i < p.x_shape().numel(); ++i) ports[0].data<double>()[i] += 1000;
      },
      100));
  const P many_rows{.rows = 65539, .channels = 64};
  cases.push_back(large(make_case<P>(layer_norm_forward, "larger than the caches", many_rows)));
  cases.push_back(large(make_case<P>(layer_norm_backward, "larger than the caches", many_rows, statistics)));
}

inline void layer_norm_grad_cases(std::vector<GradCase>& cases) {
  for (const Shape& shape : {Shape{2, 3, 2, 5}, Shape{4, 7}, Shape{3}}) {
    for (const double eps : {1e-5, 1e-2}) {
      cases.push_back(
          {"layer_norm", to_string(shape) + ", eps " + std::to_string(eps),
           [shape] {
             const Shape channels{shape[-1]};
             return std::vector<Tensor>{random_tensor(shape, 1), random_tensor(channels, 2),
                                        random_tensor(channels, 3)};
           },
           [eps](const std::vector<Tensor>& in) { return layer_norm(in[0], in[1], in[2], eps); }});
    }
  }
}

}  // namespace fovea::cases
