// head in plain loops, everything between the ports in double: the definition.
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/head/kernels.hpp"

namespace fovea {
namespace {

using Values = std::vector<double>;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

template <class T>
Values values(const View& view) {
  return Values(view.as<T>(), view.as<T>() + view.numel());
}

template <class T>
void store(const Values& from, const View& to) {
  for (std::size_t i = 0; i < from.size(); ++i) to.as<T>()[i] = static_cast<T>(from[i]);
}

template <class T>
Values mean_of_pixels(const View& x, std::int64_t n, std::int64_t pixels, std::int64_t c) {
  Values mean(size(n * c), 0.0);
  parallel_for(n, [&](std::int64_t image) {
    for (std::int64_t i = 0; i < pixels * c; ++i) {
      mean[size(image * c + i % c)] +=
          double(x.as<T>()[image * pixels * c + i]) / static_cast<double>(pixels);
    }
  });
  return mean;
}

// y = x w^T + b
template <class T>
Values fully_connected(const Values& x, const View& w, const View& b, std::int64_t n) {
  const std::int64_t out = w.shape[0], in = w.shape[1];
  Values y(size(n * out));
  for (std::int64_t i = 0; i < n * out; ++i) {
    double sum = double(b.as<T>()[i % out]);
    for (std::int64_t k = 0; k < in; ++k)
      sum += x[size(i / out * in + k)] * double(w.as<T>()[i % out * in + k]);
    y[size(i)] = sum;
  }
  return y;
}

// dw = dy^T x, db = the sum of dy over images; returns dx = dy w.
template <class T>
Values fully_connected_backward(const Values& x, const View& w, const Values& dy, std::int64_t n,
                                const View& dw, const View& db) {
  const std::int64_t out = w.shape[0], in = w.shape[1];
  Values dx(size(n * in), 0.0);
  for (std::int64_t o = 0; o < out; ++o) {
    Values row(size(in), 0.0);
    double bias = 0;
    for (std::int64_t image = 0; image < n; ++image) {
      const double g = dy[size(image * out + o)];
      bias += g;
      for (std::int64_t k = 0; k < in; ++k) {
        row[size(k)] += g * x[size(image * in + k)];
        dx[size(image * in + k)] += g * double(w.as<T>()[o * in + k]);
      }
    }
    for (std::int64_t k = 0; k < in; ++k) dw.as<T>()[o * in + k] = static_cast<T>(row[size(k)]);
    db.as<T>()[o] = static_cast<T>(bias);
  }
  return dx;
}

template <class T>
void spread(const Values& mean_gradient, std::int64_t n, std::int64_t pixels, std::int64_t c,
            const View& dx) {
  if (!dx) return;
  parallel_for(n, [&](std::int64_t image) {
    for (std::int64_t i = 0; i < pixels * c; ++i) {
      dx.as<T>()[image * pixels * c + i] =
          static_cast<T>(mean_gradient[size(image * c + i % c)] / static_cast<double>(pixels));
    }
  });
}

}  // namespace

void head_forward_reference(const HeadProblem& p, Ports t, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Values pooled = mean_of_pixels<T>(t[1], p.n, p.r_h * p.r_w, p.c);
    const Values m = mean_of_pixels<T>(t[0], p.n, p.m_h * p.m_w, p.c);
    Values f = fully_connected<T>(pooled, t[2], t[3], p.n);
    for (std::size_t i = 0; i < f.size(); ++i) f[i] += m[i];
    Values hid = fully_connected<T>(f, t[4], t[5], p.n);
    for (double& v : hid) v = v < 0 ? 0 : v;  // NaN stays
    store<T>(fully_connected<T>(hid, t[6], t[7], p.n), t[8]);
    store<T>(pooled, t[9]);
    store<T>(f, t[10]);
    store<T>(hid, t[11]);
  });
}

void head_backward_reference(const HeadProblem& p, Ports t, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Values hid = values<T>(t[6]);
    Values dhid = fully_connected_backward<T>(hid, t[3], values<T>(t[0]), p.n, t[13], t[14]);
    for (std::size_t i = 0; i < dhid.size(); ++i)
      if (hid[i] <= 0) dhid[i] = 0;
    const Values df = fully_connected_backward<T>(values<T>(t[5]), t[2], dhid, p.n, t[11], t[12]);
    const Values dpooled = fully_connected_backward<T>(values<T>(t[4]), t[1], df, p.n, t[9], t[10]);
    spread<T>(df, p.n, p.m_h * p.m_w, p.c, t[7]);
    spread<T>(dpooled, p.n, p.r_h * p.r_w, p.c, t[8]);
  });
}

}  // namespace fovea
