// optim, plain loops: the definition, element by element in double.
#include <cmath>

#include "kernels/optim/kernels.hpp"

namespace fovea {

namespace {

void copy_to_shadow(const TensorRow& row, std::int64_t i, double param) {
  if (row.shadow != 0) array_at<simt::bf16>(row.shadow)[i] = simt::bf16(static_cast<float>(param));
}

}  // namespace

void adam_reference(const AdamProblem& p, Ports ports, Stream) {
  const double scale = host_scale(p, ports);
  if (!is_usable(scale)) return;
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (const TensorRow& row : tensor_rows(p, ports)) {
      const AdamFactors f = adam_factors(p, row.step);
      T *param = array_at<T>(row.param), *first = array_at<T>(row.first), *second = array_at<T>(row.second);
      const T* grad = array_at<const T>(row.grad);
      for (std::int64_t i = 0; i < row.count; ++i) {
        const double before = double(param[i]) * f.param;
        const double g = scale * double(grad[i]) + f.decay * double(param[i]);
        const double m = p.beta1 * double(first[i]) + (1 - p.beta1) * g;
        const double v = p.beta2 * double(second[i]) + (1 - p.beta2) * g * g;
        first[i] = static_cast<T>(m);
        second[i] = static_cast<T>(v);
        param[i] = static_cast<T>(before - f.step_size * m / (std::sqrt(v) * f.root + p.eps));
        copy_to_shadow(row, i, double(param[i]));
      }
    }
  });
}

void sgd_reference(const SgdProblem& p, Ports ports, Stream) {
  const double scale = host_scale(p, ports);
  if (!is_usable(scale)) return;
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (const TensorRow& row : tensor_rows(p, ports)) {
      T *param = array_at<T>(row.param), *buffer = array_at<T>(row.first);
      const T* grad = array_at<const T>(row.grad);
      for (std::int64_t i = 0; i < row.count; ++i) {
        double g = scale * double(grad[i]) + p.weight_decay * double(param[i]);
        if (p.momentum > 0) {
          g += p.momentum * double(buffer[i]);
          buffer[i] = static_cast<T>(g);
        }
        param[i] = static_cast<T>(double(param[i]) - p.learning_rate * g);
        copy_to_shadow(row, i, double(param[i]));
      }
    }
  });
}

void sum_of_squares_reference(const SumOfSquaresProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    double sum = 0;
    for (const TensorRow& row : tensor_rows(p, ports)) {
      const T* x = array_at<const T>(row.grad);
      for (std::int64_t i = 0; i < row.count; ++i) sum += double(x[i]) * double(x[i]);
    }
    *ports[1].as<double>() = sum;
  });
}

void clip_scale_reference(const ClipScaleProblem& p, Ports ports, Stream) {
  *ports[1].as<double>() = clip_scale_of(*ports[0].as<double>(), p.clip_norm);
}

}  // namespace fovea
