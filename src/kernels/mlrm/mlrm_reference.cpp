// mlrm in plain loops, everything between the ports in double: the definition.
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/mlrm/kernels.hpp"

namespace fovea {
namespace {

using Values = std::vector<double>;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
std::int64_t dilation_of(const MlrmProblem& p, std::int64_t branch) { return p.dilations[size(branch)]; }

// Calls f(output pixel, input pixel, tap) for the taps of image n that lie inside it.
template <class F>
void for_each_tap(const MlrmProblem& p, std::int64_t dilation, std::int64_t n, F&& f) {
  for (std::int64_t y = 0; y < p.h; ++y) {
    for (std::int64_t x = 0; x < p.w; ++x) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        const std::int64_t iy = y + (tap / 3 - 1) * dilation, ix = x + (tap % 3 - 1) * dilation;
        if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
        f((n * p.h + y) * p.w + x, (n * p.h + iy) * p.w + ix, tap);
      }
    }
  }
}

template <class T>
Values convolve(const MlrmProblem& p, std::int64_t dilation, const T* x, const T* w) {
  Values z(size(p.rows() * p.c), 0.0);
  parallel_for(p.n, [&](std::int64_t n) {
    for_each_tap(p, dilation, n, [&](std::int64_t out, std::int64_t in, std::int64_t tap) {
      for (std::int64_t k = 0; k < p.c; ++k) {
        double dot = 0;
        for (std::int64_t c = 0; c < p.c; ++c)
          dot += double(x[in * p.c + c]) * double(w[(k * 9 + tap) * p.c + c]);
        z[size(out * p.c + k)] += dot;
      }
    });
  });
  return z;
}

template <class T>
void add_data_gradient(const MlrmProblem& p, std::int64_t dilation, const Values& dz, const T* w,
                       Values& dx) {
  parallel_for(p.n, [&](std::int64_t n) {
    for_each_tap(p, dilation, n, [&](std::int64_t out, std::int64_t in, std::int64_t tap) {
      for (std::int64_t k = 0; k < p.c; ++k) {
        const double g = dz[size(out * p.c + k)];
        for (std::int64_t c = 0; c < p.c; ++c)
          dx[size(in * p.c + c)] += g * double(w[(k * 9 + tap) * p.c + c]);
      }
    });
  });
}

template <class T>
void weight_gradient(const MlrmProblem& p, std::int64_t dilation, const Values& dz, const T* x, T* dw) {
  parallel_for(p.c, [&](std::int64_t k) {
    Values sum(size(9 * p.c), 0.0);
    for (std::int64_t n = 0; n < p.n; ++n) {
      for_each_tap(p, dilation, n, [&](std::int64_t out, std::int64_t in, std::int64_t tap) {
        const double g = dz[size(out * p.c + k)];
        for (std::int64_t c = 0; c < p.c; ++c) sum[size(tap * p.c + c)] += g * double(x[in * p.c + c]);
      });
    }
    for (std::int64_t i = 0; i < 9 * p.c; ++i) dw[k * 9 * p.c + i] = static_cast<T>(sum[size(i)]);
  });
}

struct Statistics {
  Values mean, var;
};

Statistics batch_statistics(const MlrmProblem& p, const Values& z) {
  Statistics s{Values(size(p.c), 0.0), Values(size(p.c), 0.0)};
  const double rows = static_cast<double>(p.rows());
  for (std::int64_t i = 0; i < p.rows() * p.c; ++i) s.mean[size(i % p.c)] += z[size(i)] / rows;
  for (std::int64_t i = 0; i < p.rows() * p.c; ++i) {
    const double d = z[size(i)] - s.mean[size(i % p.c)];
    s.var[size(i % p.c)] += d * d / rows;
  }
  return s;
}

// A branch's normalisation, per channel: h = (z - mean) invstd, bn(z) = h gamma + beta.
struct Norm {
  Values mean, invstd, gamma, beta;
  double normalised(double z, std::size_t c) const { return (z - mean[c]) * invstd[c]; }
  double output(double z, std::size_t c) const { return normalised(z, c) * gamma[c] + beta[c]; }
};

template <class T>
Values values(const View& view) {
  return Values(view.as<T>(), view.as<T>() + view.numel());
}

Values invstd_of(const MlrmProblem& p, Values var) {
  for (double& v : var) v = 1 / std::sqrt(v + p.eps);
  return var;
}

void add_branch(const MlrmProblem& p, const Norm& norm, const Values& z, Values& y) {
  for (std::int64_t i = 0; i < p.rows() * p.c; ++i) {
    const double v = norm.output(z[size(i)], size(i % p.c));
    y[size(i)] += v < 0 ? 0 : v;  // NaN stays
  }
}

template <class T>
void store(const Values& from, const View& to) {
  for (std::size_t i = 0; i < from.size(); ++i) to.as<T>()[i] = static_cast<T>(from[i]);
}

template <class T>
void update_running(const MlrmProblem& p, const Statistics& s, T* mean, T* var) {
  const double unbiased = static_cast<double>(p.rows()) / static_cast<double>(p.rows() - 1);
  for (std::int64_t c = 0; c < p.c; ++c) {
    mean[c] = static_cast<T>((1 - p.momentum) * double(mean[c]) + p.momentum * s.mean[size(c)]);
    var[c] = static_cast<T>((1 - p.momentum) * double(var[c]) + p.momentum * unbiased * s.var[size(c)]);
  }
}

// dz of one branch, and its dgamma and dbeta.
template <class T>
Values branch_gradient(const MlrmProblem& p, const Norm& norm, const Values& z, const T* dy, bool training,
                       T* dgamma, T* dbeta) {
  const std::int64_t count = p.rows() * p.c;
  const double rows = static_cast<double>(p.rows());
  Values g(size(count)), sum(size(p.c), 0.0), product(size(p.c), 0.0);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::size_t c = size(i % p.c);
    g[size(i)] = norm.output(z[size(i)], c) <= 0 ? 0.0 : double(dy[i]);
    sum[c] += g[size(i)];
    product[c] += g[size(i)] * norm.normalised(z[size(i)], c);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::size_t c = size(i % p.c);
    if (training) g[size(i)] -= (sum[c] + norm.normalised(z[size(i)], c) * product[c]) / rows;
    g[size(i)] *= norm.gamma[c] * norm.invstd[c];
  }
  for (std::int64_t c = 0; c < p.c; ++c) {
    dgamma[c] = static_cast<T>(product[size(c)]);
    dbeta[c] = static_cast<T>(sum[size(c)]);
  }
  return g;
}

template <class T, bool training>
void backward(const MlrmProblem& p, Ports ports) {
  constexpr std::size_t per_branch = training ? 6 : 5;
  const T *x = ports[0].as<T>(), *dy = ports[1].as<T>();
  Values dx = values<T>(ports[1]);
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const Ports in = mlrm_backward_in(ports, per_branch, b), out = mlrm_backward_out(p, ports, per_branch, b);
    const T* w = in[0].as<T>();
    const Values z = training ? values<T>(in[3]) : convolve(p, dilation_of(p, b), x, w);
    const Norm norm{values<T>(in[per_branch - 2]),
                    training ? values<T>(in[per_branch - 1]) : invstd_of(p, values<T>(in[per_branch - 1])),
                    values<T>(in[1]), values<T>(in[2])};
    const Values dz = branch_gradient(p, norm, z, dy, training, out[1].as<T>(), out[2].as<T>());
    if (out[0]) weight_gradient(p, dilation_of(p, b), dz, x, out[0].as<T>());
    add_data_gradient(p, dilation_of(p, b), dz, w, dx);
  }
  if (const View& to = mlrm_backward_dx(p, ports, per_branch)) store<T>(dx, to);
}

}  // namespace

void mlrm_forward_training_reference(const MlrmProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    Values y = values<T>(ports[0]);
    for (std::int64_t b = 0; b < p.branches; ++b) {
      const Ports in = mlrm_forward_in(ports, b), out = mlrm_forward_out(p, ports, b);
      const Values z = convolve(p, dilation_of(p, b), ports[0].as<T>(), in[0].as<T>());
      const Statistics s = batch_statistics(p, z);
      const Norm norm{s.mean, invstd_of(p, s.var), values<T>(in[1]), values<T>(in[2])};
      add_branch(p, norm, z, y);
      update_running(p, s, in[3].as<T>(), in[4].as<T>());
      store<T>(z, out[0]);
      store<T>(norm.mean, out[1]);
      store<T>(norm.invstd, out[2]);
    }
    store<T>(y, mlrm_forward_y(p, ports));
  });
}

void mlrm_forward_inference_reference(const MlrmProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    Values y = values<T>(ports[0]);
    for (std::int64_t b = 0; b < p.branches; ++b) {
      const Ports in = mlrm_forward_in(ports, b);
      const Norm norm{values<T>(in[3]), invstd_of(p, values<T>(in[4])), values<T>(in[1]), values<T>(in[2])};
      add_branch(p, norm, convolve(p, dilation_of(p, b), ports[0].as<T>(), in[0].as<T>()), y);
    }
    store<T>(y, mlrm_forward_y(p, ports));
  });
}

void mlrm_backward_reference(const MlrmProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) { backward<decltype(zero), true>(p, ports); });
}

void mlrm_backward_inference_reference(const MlrmProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) { backward<decltype(zero), false>(p, ports); });
}

}  // namespace fovea
