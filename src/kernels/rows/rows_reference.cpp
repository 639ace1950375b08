// rows, plain loops: the definition. Gradients of repeated rows add up in double.
#include <algorithm>
#include <vector>

#include "kernels/rows/kernels.hpp"

namespace fovea {
namespace {

template <class T>
void pick(const RowsProblem& p, const T* from, const std::int64_t* indices, T* to) {
  check_row_indices(p, indices);
  for (std::int64_t i = 0; i < p.count; ++i) {
    for (std::int64_t c = 0; c < p.size; ++c) to[i * p.size + c] = from[indices[i] * p.size + c];
  }
}

}  // namespace

void rows_gather_reference(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    pick<T>(p, ports[0].as<T>(), ports[1].as<std::int64_t>(), ports[2].as<T>());
  });
}

void rows_gather_backward_reference(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t* indices = ports[0].as<std::int64_t>();
    const T* dy = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    check_row_indices(p, indices);
    std::vector<double> sum(static_cast<std::size_t>(p.rows * p.size));
    for (std::int64_t i = 0; i < p.count; ++i) {
      for (std::int64_t c = 0; c < p.size; ++c) {
        sum[static_cast<std::size_t>(indices[i] * p.size + c)] += double(dy[i * p.size + c]);
      }
    }
    std::transform(sum.begin(), sum.end(), dx, [](double v) { return static_cast<T>(v); });
  });
}

void rows_scatter_reference(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    const std::int64_t* indices = ports[1].as<std::int64_t>();
    T* y = ports[2].as<T>();
    check_distinct_row_indices(p, indices);
    std::fill_n(y, p.rows * p.size, T(0));
    for (std::int64_t i = 0; i < p.count; ++i) {
      for (std::int64_t c = 0; c < p.size; ++c) y[indices[i] * p.size + c] = x[i * p.size + c];
    }
  });
}

void rows_scatter_backward_reference(const RowsProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    pick<T>(p, ports[1].as<T>(), ports[0].as<std::int64_t>(), ports[2].as<T>());
  });
}

}  // namespace fovea
