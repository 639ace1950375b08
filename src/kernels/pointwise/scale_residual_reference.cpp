// scale_residual, plain loops: the definition. The sum over samples and rows is taken in double, in their order.
#include "kernels/pointwise/scale_residual_kernels.hpp"

namespace fovea {

void scale_residual_forward_reference(const ScaleResidualProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = ports[0].as<T>(), *f = ports[1].as<T>(), *gamma = ports[2].as<T>();
    T* y = ports[4].as<T>();
    const std::vector<double> scales = branch_scales(p, ports[3].as<std::int64_t>());
    for (std::int64_t i = 0; i < p.x_shape().numel(); ++i) {
      const double s = scales[static_cast<std::size_t>(i / (p.rows * p.channels))];
      y[i] = s == 0 ? x[i] : static_cast<T>(double(x[i]) + s * double(gamma[i % p.channels]) * double(f[i]));
    }
  });
}

void scale_residual_backward_reference(const ScaleResidualProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *f = ports[0].as<T>(), *gamma = ports[1].as<T>(), *dy = ports[3].as<T>();
    T *df = ports[4].as<T>(), *dgamma = ports[5].as<T>();
    const std::vector<double> scales = branch_scales(p, ports[2].as<std::int64_t>());
    std::vector<double> sums(static_cast<std::size_t>(p.channels));
    for (std::int64_t i = 0; i < p.x_shape().numel(); ++i) {
      const double s = scales[static_cast<std::size_t>(i / (p.rows * p.channels))];
      const double gradient = double(dy[i]);
      if (s != 0) sums[static_cast<std::size_t>(i % p.channels)] += s * double(f[i]) * gradient;
      df[i] = s == 0 ? T(0) : static_cast<T>(s * double(gamma[i % p.channels]) * gradient);
    }
    for (std::int64_t c = 0; c < p.channels; ++c)
      dgamma[c] = static_cast<T>(sums[static_cast<std::size_t>(c)]);
  });
}

}  // namespace fovea
