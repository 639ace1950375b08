// See gradcheck.hpp.
#include "autograd/gradcheck.hpp"

#include <fmt/format.h>

#include <cmath>
#include <random>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

// The inputs where the function runs. Elements are perturbed on the CPU.
std::vector<Tensor> placed(const std::vector<Tensor>& inputs, Device device) {
  if (device == Device::cpu) return inputs;
  std::vector<Tensor> moved;
  for (const Tensor& t : inputs) {
    moved.push_back(t.detach().to(device));
    moved.back().set_requires_grad(true);
  }
  return moved;
}

std::vector<double> evaluate(const TensorFunction& function, const std::vector<Tensor>& inputs,
                             Device device) {
  NoGrad no_grad;
  return function(placed(inputs, device)).to_doubles();
}

// Column j of the numeric Jacobian: d output / d element `at` of `inputs[i]`.
std::vector<double> numeric_column(const TensorFunction& function, std::vector<Tensor>& inputs, std::size_t i,
                                   std::int64_t at, const GradcheckOptions& options) {
  double& element = inputs[i].data<double>()[at];
  const double before = element;
  element = before + options.eps;
  std::vector<double> column = evaluate(function, inputs, options.device);
  element = before - options.eps;
  const std::vector<double> below = evaluate(function, inputs, options.device);
  element = before;
  for (std::size_t k = 0; k < column.size(); ++k) column[k] = (column[k] - below[k]) / (2 * options.eps);
  return column;
}

// Row k of the analytic Jacobian: the gradients of output element k to all inputs.
std::vector<std::vector<double>> analytic_row(const TensorFunction& function,
                                              const std::vector<Tensor>& inputs, std::int64_t k,
                                              Device device) {
  std::vector<Tensor> leaves = placed(inputs, device);
  for (Tensor& t : leaves) t.zero_grad();
  Tensor y = function(leaves);
  Tensor seed = Tensor::zeros(y.shape(), Dtype::f64);
  seed.data<double>()[k] = 1.0;
  y.backward(seed.to(device));
  std::vector<std::vector<double>> row;
  for (const Tensor& t : leaves) {
    row.push_back(t.grad() ? t.grad().to_doubles()
                           : std::vector<double>(static_cast<std::size_t>(t.numel()), 0.0));
  }
  return row;
}

}  // namespace

GradcheckResult gradcheck(const TensorFunction& function, std::vector<Tensor> inputs,
                          const GradcheckOptions& options) {
  for (Tensor& t : inputs) {
    if (t.dtype() != Dtype::f64) fail("gradcheck: inputs must be f64; fp32 differences prove nothing");
    t = t.clone();
    t.set_requires_grad(true);
  }
  const auto outputs = static_cast<std::int64_t>(evaluate(function, inputs, options.device).size());
  std::vector<std::vector<std::vector<double>>> analytic;
  for (std::int64_t k = 0; k < outputs; ++k) {
    analytic.push_back(analytic_row(function, inputs, k, options.device));
  }

  GradcheckResult result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::int64_t at = 0; at < inputs[i].numel(); ++at) {
      const std::vector<double> column = numeric_column(function, inputs, i, at, options);
      for (std::size_t k = 0; k < column.size(); ++k) {
        const double a = analytic[k][i][static_cast<std::size_t>(at)], n = column[k];
        const double error = std::abs(a - n) / (options.atol + options.rtol * std::abs(n));
        if (error <= result.worst) continue;
        // A NaN is not <= anything, so it lands here and fails.
        result.worst = std::isnan(error) ? INFINITY : error;
        if (!(error <= 1)) {
          result.passed = false;
          result.explanation = fmt::format(
              "d output[{}] / d input {}[{}]: backward says {:.9g}, differences say {:.9g}", k, i, at, a, n);
        }
      }
    }
  }
  return result;
}

double directional_check(const std::function<Tensor()>& loss, const std::vector<Tensor>& parameters,
                         std::uint64_t seed, double eps) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> directions, origins;
  for (Tensor p : parameters) {
    p.zero_grad();
    origins.push_back(p.to_doubles());
    std::vector<double>& d = directions.emplace_back(origins.back().size());
    for (double& v : d) v = normal(generator);
  }
  loss().backward();
  double analytic = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].grad()) continue;
    const std::vector<double> g = parameters[i].grad().to_doubles();
    for (std::size_t j = 0; j < g.size(); ++j) analytic += g[j] * directions[i][j];
  }
  const auto at = [&](double step) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      std::vector<double> values = origins[i];
      for (std::size_t j = 0; j < values.size(); ++j) values[j] += step * directions[i][j];
      Tensor p = parameters[i];
      p.copy_from(Tensor::from<double>(values, p.shape(), p.dtype()));
    }
    NoGrad no_grad;
    return loss().item();
  };
  const double numeric = (at(eps) - at(-eps)) / (2 * eps);
  at(0);
  const double scale = std::max(std::abs(analytic), std::abs(numeric));
  return scale == 0 ? 0 : std::abs(analytic - numeric) / scale;
}

}  // namespace fovea
