// loss, plain loops in double: the definition. The largest logit of a row is subtracted before the
// exponential, so no finite logits overflow.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/loss/kernels.hpp"

namespace fovea {
namespace {

// Class weights in double (ones where there are none), checked.
template <class T>
std::vector<double> weights_of(const CrossEntropyProblem& p, const View& view) {
  std::vector<double> weights(static_cast<std::size_t>(p.k), 1.0);
  if (!view) return weights;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    weights[k] = double(view.as<T>()[k]);
    if (!(weights[k] >= 0) || !std::isfinite(weights[k])) {
      fail(fmt::format("cross-entropy: class weight {} of class {} must be finite and at least 0", weights[k],
                       k));
    }
  }
  return weights;
}

// sum_n w[y_n], with the labels checked.
double label_weight(const CrossEntropyProblem& p, const std::int64_t* labels,
                    const std::vector<double>& weights) {
  double sum = 0;
  for (std::int64_t n = 0; n < p.n; ++n) {
    if (labels[n] < 0 || labels[n] >= p.k) {
      fail(fmt::format("cross-entropy: label {} in row {} lies outside 0..{}", labels[n], n, p.k - 1));
    }
    sum += weights[static_cast<std::size_t>(labels[n])];
  }
  if (!(sum > 0))
    fail("cross-entropy: every label of the batch has class weight 0, so the mean loss is undefined");
  return sum;
}

}  // namespace

void softmax_cross_entropy_forward_reference(const CrossEntropyProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* logits = ports[0].as<T>();
    const std::int64_t* labels = ports[1].as<std::int64_t>();
    T* probabilities = ports[4].as<T>();
    const std::vector<double> weights = weights_of<T>(p, ports[2]);
    const double divisor = label_weight(p, labels, weights);
    double loss = 0;
    for (std::int64_t n = 0; n < p.n; ++n) {
      const T* z = logits + n * p.k;
      const double largest = double(*std::max_element(z, z + p.k));
      double sum = 0;
      for (std::int64_t k = 0; k < p.k; ++k) sum += std::exp(double(z[k]) - largest);
      const double log_sum = largest + std::log(sum);
      double smoothed = 0;
      for (std::int64_t k = 0; k < p.k; ++k) {
        const double minus_log_p = log_sum - double(z[k]);
        probabilities[n * p.k + k] = static_cast<T>(std::exp(-minus_log_p));
        smoothed += weights[static_cast<std::size_t>(k)] * minus_log_p;
      }
      const std::int64_t y = labels[n];
      loss += (1 - p.label_smoothing) * weights[static_cast<std::size_t>(y)] * (log_sum - double(z[y]));
      if (p.label_smoothing > 0) loss += p.label_smoothing / static_cast<double>(p.k) * smoothed;
    }
    *ports[3].as<T>() = static_cast<T>(loss / divisor);
  });
}

void softmax_cross_entropy_backward_reference(const CrossEntropyProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* probabilities = ports[0].as<T>();
    const std::int64_t* labels = ports[1].as<std::int64_t>();
    T* dlogits = ports[4].as<T>();
    const std::vector<double> weights = weights_of<T>(p, ports[2]);
    const double scale = double(*ports[3].as<T>()) / label_weight(p, labels, weights);
    const double even = p.label_smoothing / static_cast<double>(p.k);
    double all = 0;
    for (const double w : weights) all += w;
    for (std::int64_t n = 0; n < p.n; ++n) {
      const double hard = (1 - p.label_smoothing) * weights[static_cast<std::size_t>(labels[n])];
      for (std::int64_t k = 0; k < p.k; ++k) {
        const double probability = double(probabilities[n * p.k + k]);
        const double target = hard * (k == labels[n]) + even * weights[static_cast<std::size_t>(k)];
        dlogits[n * p.k + k] = static_cast<T>(scale * (probability * (hard + even * all) - target));
      }
    }
  });
}

void softmax_forward_reference(const SoftmaxProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t n = 0; n < p.n; ++n) {
      const T* x = ports[0].as<T>() + n * p.k;
      T* y = ports[1].as<T>() + n * p.k;
      const double largest = double(*std::max_element(x, x + p.k));
      double sum = 0;
      for (std::int64_t k = 0; k < p.k; ++k) sum += std::exp(double(x[k]) - largest);
      for (std::int64_t k = 0; k < p.k; ++k) y[k] = static_cast<T>(std::exp(double(x[k]) - largest) / sum);
    }
  });
}

void softmax_backward_reference(const SoftmaxProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t n = 0; n < p.n; ++n) {
      const T *y = ports[0].as<T>() + n * p.k, *dy = ports[1].as<T>() + n * p.k;
      T* dx = ports[2].as<T>() + n * p.k;
      double sum = 0;
      for (std::int64_t k = 0; k < p.k; ++k) sum += double(y[k]) * double(dy[k]);
      for (std::int64_t k = 0; k < p.k; ++k) dx[k] = static_cast<T>(double(y[k]) * (double(dy[k]) - sum));
    }
  });
}

}  // namespace fovea
