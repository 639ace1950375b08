// ham in plain loops, sums in double: the definition. The backward follows from ham.hpp with r = x,
// u = r (S + W), g = sigmoid(u) and G = dy:
//
//   m  = G r^2 g (1-g)                            scse: m = G r
//   dS = sum_c m      ds = dS S (1-S)             dW = sum_p m -> sigmoid, fc2, ReLU, fc1 -> dA
//   dx = G g + G r g (1-g) (S + W) + ds w[c] + dA / (H W)        scse: G (S + W) + ds w[c] + dA / (H W)
//   dw = sum_{n,p} ds r     db = sum_{n,p} ds
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/ham/kernels.hpp"

namespace fovea {
namespace {

double sigmoid(double v) { return 1.0 / (1.0 + std::exp(-v)); }
std::vector<double> zeros(std::int64_t count) {
  return std::vector<double>(static_cast<std::size_t>(count), 0.0);
}

template <class T>
void forward_image(const HamProblem& p, const HamForward<T>& t, std::int64_t n) {
  const T* x = t.x + n * p.pixels() * p.c;
  T *y = t.y + n * p.pixels() * p.c, *s = t.s + n * p.pixels(), *a = t.a + n * p.c, *z = t.z + n * p.hidden,
    *wgt = t.wgt + n * p.c;
  std::vector<double> mean = zeros(p.c), hidden = zeros(p.hidden);
  for (std::int64_t i = 0; i < p.pixels(); ++i) {
    double logit = double(t.spatial_bias[0]);
    for (std::int64_t c = 0; c < p.c; ++c) {
      mean[static_cast<std::size_t>(c)] += double(x[i * p.c + c]) / static_cast<double>(p.pixels());
      logit += double(x[i * p.c + c]) * double(t.spatial_weight[c]);
    }
    s[i] = static_cast<T>(sigmoid(logit));
  }
  for (std::int64_t j = 0; j < p.hidden; ++j) {
    double v = double(t.fc1_bias[j]);
    for (std::int64_t c = 0; c < p.c; ++c)
      v += double(t.fc1_weight[j * p.c + c]) * mean[static_cast<std::size_t>(c)];
    hidden[static_cast<std::size_t>(j)] = v < 0 ? 0 : v;  // NaN stays
    z[j] = static_cast<T>(hidden[static_cast<std::size_t>(j)]);
  }
  for (std::int64_t c = 0; c < p.c; ++c) {
    double v = double(t.fc2_bias[c]);
    for (std::int64_t j = 0; j < p.hidden; ++j)
      v += double(t.fc2_weight[c * p.hidden + j]) * hidden[static_cast<std::size_t>(j)];
    a[c] = static_cast<T>(mean[static_cast<std::size_t>(c)]);
    wgt[c] = static_cast<T>(sigmoid(v));
  }
  for (std::int64_t i = 0; i < p.pixels(); ++i) {
    for (std::int64_t c = 0; c < p.c; ++c) {
      const double r = double(x[i * p.c + c]), gate = double(s[i]) + double(wgt[c]);
      y[i * p.c + c] = static_cast<T>(p.scse ? r * gate : r * sigmoid(r * gate));
    }
  }
}

// What one image adds to the gradients that sum over images.
struct Sums {
  std::vector<double> spatial_weight, logit2, hidden;  // dw; d(fc2's output); d(fc1's output)
  double spatial_bias = 0;
};

// dx without dA, dW into `channel`, and the spatial gradients.
template <class T>
void backward_pixels(const HamProblem& p, const HamBackward<T>& t, std::int64_t n, Sums& sums,
                     std::vector<double>& channel, std::vector<double>& dx) {
  const T *x = t.x + n * p.pixels() * p.c, *dy = t.dy + n * p.pixels() * p.c, *s = t.s + n * p.pixels(),
          *wgt = t.wgt + n * p.c;
  for (std::int64_t i = 0; i < p.pixels(); ++i) {
    double ds = 0;
    for (std::int64_t c = 0; c < p.c; ++c) {
      const double r = double(x[i * p.c + c]), g = double(dy[i * p.c + c]);
      const double gate = double(s[i]) + double(wgt[c]), open = sigmoid(r * gate);
      const double du = g * r * open * (1 - open);
      const double m = p.scse ? g * r : du * r;
      dx[static_cast<std::size_t>(i * p.c + c)] = p.scse ? g * gate : g * open + du * gate;
      channel[static_cast<std::size_t>(c)] += m;
      ds += m;
    }
    ds *= double(s[i]) * (1 - double(s[i]));
    sums.spatial_bias += ds;
    for (std::int64_t c = 0; c < p.c; ++c) {
      dx[static_cast<std::size_t>(i * p.c + c)] += ds * double(t.spatial_weight[c]);
      sums.spatial_weight[static_cast<std::size_t>(c)] += ds * double(x[i * p.c + c]);
    }
  }
}

template <class T>
Sums backward_image(const HamProblem& p, const HamBackward<T>& t, std::int64_t n) {
  Sums sums{zeros(p.c), zeros(p.c), zeros(p.hidden)};
  std::vector<double> channel = zeros(p.c), dx = zeros(p.pixels() * p.c);
  backward_pixels(p, t, n, sums, channel, dx);
  for (std::int64_t c = 0; c < p.c; ++c) {
    const double w = double(t.wgt[n * p.c + c]);
    const double d = channel[static_cast<std::size_t>(c)] * w * (1 - w);
    sums.logit2[static_cast<std::size_t>(c)] = d;
    for (std::int64_t j = 0; j < p.hidden; ++j)
      sums.hidden[static_cast<std::size_t>(j)] += d * double(t.fc2_weight[c * p.hidden + j]);
  }
  for (std::int64_t j = 0; j < p.hidden; ++j)
    if (t.z[n * p.hidden + j] <= 0) sums.hidden[static_cast<std::size_t>(j)] = 0;
  for (std::int64_t c = 0; c < p.c; ++c) {
    double da = 0;
    for (std::int64_t j = 0; j < p.hidden; ++j)
      da += sums.hidden[static_cast<std::size_t>(j)] * double(t.fc1_weight[j * p.c + c]);
    da /= static_cast<double>(p.pixels());
    for (std::int64_t i = 0; i < p.pixels(); ++i)
      t.dx[(n * p.pixels() + i) * p.c + c] = static_cast<T>(dx[static_cast<std::size_t>(i * p.c + c)] + da);
  }
  return sums;
}

// out[i] = sum_n of(n, i), in order of n.
template <class T, class F>
void sum_images(std::int64_t images, T* out, std::int64_t count, F&& of) {
  for (std::int64_t i = 0; i < count; ++i) {
    double v = 0;
    for (std::int64_t n = 0; n < images; ++n) v += of(n, i);
    out[i] = static_cast<T>(v);
  }
}

}  // namespace

void ham_forward_reference(const HamProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    const HamForward<decltype(zero)> t(ports);
    parallel_for(p.n, [&](std::int64_t n) { forward_image(p, t, n); });
  });
}

void ham_backward_reference(const HamProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    const HamBackward<decltype(zero)> t(ports);
    std::vector<Sums> sums(static_cast<std::size_t>(p.n));
    parallel_for(p.n, [&](std::int64_t n) { sums[static_cast<std::size_t>(n)] = backward_image(p, t, n); });
    const auto at = [](const std::vector<double>& v, std::int64_t i) {
      return v[static_cast<std::size_t>(i)];
    };
    const auto of = [&](std::int64_t n) -> const Sums& { return sums[static_cast<std::size_t>(n)]; };
    sum_images(p.n, t.dspatial_weight, p.c, [&](auto n, auto c) { return at(of(n).spatial_weight, c); });
    sum_images(p.n, t.dspatial_bias, 1, [&](auto n, auto) { return of(n).spatial_bias; });
    sum_images(p.n, t.dfc2_bias, p.c, [&](auto n, auto c) { return at(of(n).logit2, c); });
    sum_images(p.n, t.dfc1_bias, p.hidden, [&](auto n, auto j) { return at(of(n).hidden, j); });
    sum_images(p.n, t.dfc2_weight, p.c * p.hidden, [&](auto n, auto i) {
      return at(of(n).logit2, i / p.hidden) * double(t.z[n * p.hidden + i % p.hidden]);
    });
    sum_images(p.n, t.dfc1_weight, p.hidden * p.c,
               [&](auto n, auto i) { return at(of(n).hidden, i / p.c) * double(t.a[n * p.c + i % p.c]); });
  });
}

}  // namespace fovea
