// linear, plain loops: the definition, accumulated in double.
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/linear/kernels.hpp"

namespace fovea {

void linear_forward_reference(const LinearProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = ports[0].as<T>(), *w = ports[1].as<T>(), *b = ports[2].as<T>();
    T* y = ports[3].as<T>();
    parallel_for(p.n * p.out, [&](std::int64_t at) {
      const T *row = x + at / p.out * p.in, *column = w + at % p.out * p.in;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < p.in; ++i) sum += double(row[i]) * double(column[i]);
      if (b != nullptr) sum += double(b[at % p.out]);
      y[at] = static_cast<T>(p.relu && sum < 0 ? 0.0 : sum);
    });
  });
}

void linear_backward_data_reference(const LinearProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *dy = ports[0].as<T>(), *w = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    parallel_for(p.n, [&](std::int64_t n) {
      std::vector<double> sum(static_cast<std::size_t>(p.in));
      for (std::int64_t o = 0; o < p.out; ++o) {
        const double g = double(dy[n * p.out + o]);
        for (std::int64_t i = 0; i < p.in; ++i)
          sum[static_cast<std::size_t>(i)] += g * double(w[o * p.in + i]);
      }
      for (std::int64_t i = 0; i < p.in; ++i)
        dx[n * p.in + i] = static_cast<T>(sum[static_cast<std::size_t>(i)]);
    });
  });
}

void linear_backward_weights_reference(const LinearProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = ports[0].as<T>(), *dy = ports[1].as<T>();
    T *dw = ports[2].as<T>(), *db = ports[3].as<T>();
    parallel_for(p.out, [&](std::int64_t o) {
      std::vector<double> sum(static_cast<std::size_t>(p.in));
      double bias = 0;
      for (std::int64_t n = 0; n < p.n; ++n) {
        const double g = double(dy[n * p.out + o]);
        bias += g;
        for (std::int64_t i = 0; i < p.in; ++i)
          sum[static_cast<std::size_t>(i)] += g * double(x[n * p.in + i]);
      }
      for (std::int64_t i = 0; i < p.in; ++i)
        dw[o * p.in + i] = static_cast<T>(sum[static_cast<std::size_t>(i)]);
      if (db != nullptr) db[o] = static_cast<T>(bias);
    });
  });
}

}  // namespace fovea
