// layer_norm, plain loops: the definition. All sums are taken in double, in order.
#include <cmath>
#include <vector>

#include "kernels/layer_norm/kernels.hpp"

namespace fovea {

void layer_norm_forward_reference(const LayerNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *gamma = ports[1].as<T>(), *beta = ports[2].as<T>();
    T *mean_out = ports[4].as<T>(), *rstd_out = ports[5].as<T>();
    for (std::int64_t r = 0; r < p.rows; ++r) {
      const T* x = ports[0].as<T>() + r * p.channels;
      T* y = ports[3].as<T>() + r * p.channels;
      double mean = 0, squares = 0;
      for (std::int64_t c = 0; c < p.channels; ++c) mean += double(x[c]);
      mean /= static_cast<double>(p.channels);
      for (std::int64_t c = 0; c < p.channels; ++c) squares += (double(x[c]) - mean) * (double(x[c]) - mean);
      const double rstd = 1 / std::sqrt(squares / static_cast<double>(p.channels) + p.eps);
      for (std::int64_t c = 0; c < p.channels; ++c)
        y[c] = static_cast<T>((double(x[c]) - mean) * rstd * double(gamma[c]) + double(beta[c]));
      if (mean_out != nullptr) mean_out[r] = static_cast<T>(mean);
      if (rstd_out != nullptr) rstd_out[r] = static_cast<T>(rstd);
    }
  });
}

void layer_norm_backward_reference(const LayerNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* gamma = ports[2].as<T>();
    std::vector<double> dgamma(static_cast<std::size_t>(p.channels)), dbeta(dgamma);
    for (std::int64_t r = 0; r < p.rows; ++r) {
      const T *x = ports[0].as<T>() + r * p.channels, *dy = ports[1].as<T>() + r * p.channels;
      T* dx = ports[5].as<T>() + r * p.channels;
      const double mean = double(ports[3].as<T>()[r]), rstd = double(ports[4].as<T>()[r]);
      double sum = 0, product = 0;
      for (std::int64_t c = 0; c < p.channels; ++c) {
        const double h = (double(x[c]) - mean) * rstd, g = double(dy[c]) * double(gamma[c]);
        sum += g;
        product += g * h;
        dgamma[static_cast<std::size_t>(c)] += double(dy[c]) * h;
        dbeta[static_cast<std::size_t>(c)] += double(dy[c]);
      }
      sum /= static_cast<double>(p.channels);
      product /= static_cast<double>(p.channels);
      for (std::int64_t c = 0; c < p.channels; ++c) {
        const double h = (double(x[c]) - mean) * rstd, g = double(dy[c]) * double(gamma[c]);
        dx[c] = static_cast<T>(rstd * (g - sum - h * product));
      }
    }
    for (std::int64_t c = 0; c < p.channels; ++c) {
      ports[6].as<T>()[c] = static_cast<T>(dgamma[static_cast<std::size_t>(c)]);
      ports[7].as<T>()[c] = static_cast<T>(dbeta[static_cast<std::size_t>(c)]);
    }
  });
}

}  // namespace fovea
