// batch_norm, plain loops: the definition, in float (computed in double) and double. The variance takes a
// second pass around the mean.
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea {
namespace {

// One channel: its coefficients, and the loop over its elements.
template <class T>
struct Channel {
  const T* x;
  std::int64_t rows, stride, y_stride;  // of x and dx, of y and dy
  double mean, invstd, gamma, beta;

  double h(std::int64_t r) const { return (double(x[r * stride]) - mean) * invstd; }
  double z(std::int64_t r) const { return h(r) * gamma + beta; }
  // ReLU's mask; a NaN passes, as in PyTorch.
  bool open(std::int64_t r, bool relu) const { return !(relu && z(r) <= 0); }
};

template <class T>
void write_forward(const Channel<T>& channel, bool relu, T* y) {
  for (std::int64_t r = 0; r < channel.rows; ++r) {
    const double z = channel.z(r);
    y[r * channel.y_stride] = static_cast<T>(relu && z < 0 ? 0.0 : z);
  }
}

struct Sums {
  double g = 0, gh = 0;
};
template <class T>
Sums sums_of(const Channel<T>& channel, bool relu, const T* dy) {
  Sums sums;
  for (std::int64_t r = 0; r < channel.rows; ++r) {
    if (!channel.open(r, relu)) continue;
    sums.g += double(dy[r * channel.y_stride]);
    sums.gh += double(dy[r * channel.y_stride]) * channel.h(r);
  }
  return sums;
}

// dx (+)= gamma invstd (g - through_mean - h through_spread)
template <class T>
void write_dx(const Channel<T>& channel, const BatchNormProblem& p, double through_mean,
              double through_spread, const T* dy, T* dx) {
  for (std::int64_t r = 0; r < channel.rows; ++r) {
    const double g = channel.open(r, p.relu != 0) ? double(dy[r * channel.y_stride]) : 0.0;
    const double before = p.accumulate ? double(dx[r * channel.stride]) : 0.0;
    dx[r * channel.stride] = static_cast<T>(before + channel.gamma * channel.invstd *
                                                         (g - through_mean - channel.h(r) * through_spread));
  }
}

double inverse_deviation(double variance, double eps) { return 1 / std::sqrt(variance + eps); }

template <class T, class Invstd>
void backward(const BatchNormProblem& p, Ports ports, bool through_statistics, Invstd&& invstd) {
  const T *x = p.x_slice.first_of<T>(ports[0]), *dy = p.y_slice.first_of<T>(ports[1]);
  const T *gamma = ports[2].as<T>(), *beta = ports[3].as<T>(), *mean = ports[4].as<T>(),
          *spread = ports[5].as<T>();
  T *dx = p.x_slice.first_of<T>(ports[6]), *dgamma = ports[7].as<T>(), *dbeta = ports[8].as<T>();
  parallel_for(p.channels, [&](std::int64_t c) {
    const Channel<T> channel{.x = x + c,
                             .rows = p.rows,
                             .stride = p.x_slice.pitch(p.channels),
                             .y_stride = p.y_slice.pitch(p.channels),
                             .mean = double(mean[c]),
                             .invstd = invstd(double(spread[c])),
                             .gamma = double(gamma[c]),
                             .beta = double(beta[c])};
    const Sums sums = sums_of(channel, p.relu != 0, dy + c);
    const double share = through_statistics ? 1 / static_cast<double>(p.rows) : 0.0;
    write_dx(channel, p, sums.g * share, sums.gh * share, dy + c, dx + c);
    dgamma[c] = static_cast<T>(sums.gh);
    dbeta[c] = static_cast<T>(sums.g);
  });
}

}  // namespace

void batch_norm_forward_training_reference(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = p.x_slice.first_of<T>(ports[0]), *gamma = ports[1].as<T>(), *beta = ports[2].as<T>();
    T *running_mean = ports[3].as<T>(), *running_var = ports[4].as<T>();
    T *y = p.y_slice.first_of<T>(ports[5]), *mean_out = ports[6].as<T>(), *invstd_out = ports[7].as<T>();
    const std::int64_t stride = p.x_slice.pitch(p.channels), y_stride = p.y_slice.pitch(p.channels);
    const double rows = static_cast<double>(p.rows);
    parallel_for(p.channels, [&](std::int64_t c) {
      double mean = 0, squares = 0;
      for (std::int64_t r = 0; r < p.rows; ++r) mean += double(x[r * stride + c]);
      mean /= rows;
      for (std::int64_t r = 0; r < p.rows; ++r) {
        const double d = double(x[r * stride + c]) - mean;
        squares += d * d;
      }
      const double invstd = inverse_deviation(squares / rows, p.eps);
      const Channel<T> channel{.x = x + c,
                               .rows = p.rows,
                               .stride = stride,
                               .y_stride = y_stride,
                               .mean = mean,
                               .invstd = invstd,
                               .gamma = double(gamma[c]),
                               .beta = double(beta[c])};
      write_forward(channel, p.relu != 0, y + c);
      mean_out[c] = static_cast<T>(mean);
      invstd_out[c] = static_cast<T>(invstd);
      running_mean[c] = static_cast<T>((1 - p.momentum) * double(running_mean[c]) + p.momentum * mean);
      running_var[c] =
          static_cast<T>((1 - p.momentum) * double(running_var[c]) + p.momentum * squares / (rows - 1));
    });
  });
}

void batch_norm_forward_inference_reference(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = p.x_slice.first_of<T>(ports[0]), *gamma = ports[1].as<T>(), *beta = ports[2].as<T>();
    const T *running_mean = ports[3].as<T>(), *running_var = ports[4].as<T>();
    T* y = p.y_slice.first_of<T>(ports[5]);
    parallel_for(p.channels, [&](std::int64_t c) {
      const double invstd = inverse_deviation(double(running_var[c]), p.eps);
      const Channel<T> channel{.x = x + c,
                               .rows = p.rows,
                               .stride = p.x_slice.pitch(p.channels),
                               .y_stride = p.y_slice.pitch(p.channels),
                               .mean = double(running_mean[c]),
                               .invstd = invstd,
                               .gamma = double(gamma[c]),
                               .beta = double(beta[c])};
      write_forward(channel, p.relu != 0, y + c);
    });
  });
}

void batch_norm_backward_reference(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    backward<decltype(zero)>(p, ports, true, [](double invstd) { return invstd; });
  });
}

void batch_norm_backward_inference_reference(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    backward<decltype(zero)>(p, ports, false,
                             [&](double variance) { return inverse_deviation(variance, p.eps); });
  });
}

}  // namespace fovea
