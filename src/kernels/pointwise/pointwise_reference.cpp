// pointwise, plain loops: the definition. Sums over broadcast dimensions are taken in double, in the order of
// y.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/pointwise/kernels.hpp"

namespace fovea {
namespace {

// f(element of `in0`, of `in1`) for every element, in double.
template <class F>
void map(Dtype dtype, std::int64_t count, const View& in0, const View& in1, const View& out, F&& f) {
  visit_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *a = in0.as<T>(), *b = in1.as<T>();
    T* y = out.as<T>();
    parallel_for(count, [&](std::int64_t i) { y[i] = static_cast<T>(f(double(a[i]), double(b[i]))); });
  });
}

// Calls f(index in y, offset in a, offset in b) for every element of y, in order.
template <class F>
void for_each_element(const BroadcastProblem& p, F&& f) {
  const BroadcastLoops loops = broadcast_loops(p);
  const std::int64_t count = p.y_shape().numel();
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, a = 0, b = 0;
    for (int d = loops.rank - 1; d >= 0; --d) {
      const auto at = static_cast<std::size_t>(d);
      a += rest % loops.size[at] * loops.a_stride[at];
      b += rest % loops.size[at] * loops.b_stride[at];
      rest /= loops.size[at];
    }
    f(i, a, b);
  }
}

template <class F>
void combine(const BroadcastProblem& p, Ports ports, F&& f) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *a = ports[0].as<T>(), *b = ports[1].as<T>();
    T* y = ports[2].as<T>();
    for_each_element(p, [&](std::int64_t i, std::int64_t ai, std::int64_t bi) {
      y[i] = static_cast<T>(f(double(a[ai]), double(b[bi])));
    });
  });
}

// da and db of dy, where f and g give an element's contribution to each.
template <class T, class F, class G>
void reduce(const BroadcastProblem& p, const View& da, const View& db, F&& f, G&& g) {
  std::vector<double> a(static_cast<std::size_t>(p.a.numel())), b(static_cast<std::size_t>(p.b.numel()));
  for_each_element(p, [&](std::int64_t i, std::int64_t ai, std::int64_t bi) {
    a[static_cast<std::size_t>(ai)] += f(i, bi);
    b[static_cast<std::size_t>(bi)] += g(i, ai);
  });
  for (std::size_t i = 0; da && i < a.size(); ++i) da.as<T>()[i] = static_cast<T>(a[i]);
  for (std::size_t i = 0; db && i < b.size(); ++i) db.as<T>()[i] = static_cast<T>(b[i]);
}

}  // namespace

void relu_forward_reference(const PointwiseProblem& p, Ports ports, Stream) {
  map(p.dtype, p.count, ports[0], ports[0], ports[1], [](double x, double) { return x < 0 ? 0 : x; });
}

void relu_backward_reference(const PointwiseProblem& p, Ports ports, Stream) {
  map(p.dtype, p.count, ports[0], ports[1], ports[2], [](double y, double dy) { return y <= 0 ? 0 : dy; });
}

void sigmoid_forward_reference(const PointwiseProblem& p, Ports ports, Stream) {
  map(p.dtype, p.count, ports[0], ports[0], ports[1],
      [](double x, double) { return 1 / (1 + std::exp(-x)); });
}

void sigmoid_backward_reference(const PointwiseProblem& p, Ports ports, Stream) {
  map(p.dtype, p.count, ports[0], ports[1], ports[2], [](double y, double dy) { return dy * y * (1 - y); });
}

void gelu_forward_reference(const PointwiseProblem& p, Ports ports, Stream) {
  map(p.dtype, p.count, ports[0], ports[0], ports[1],
      [](double x, double) { return x * std::erfc(-x * std::numbers::sqrt2 / 2) / 2; });
}

void gelu_backward_reference(const PointwiseProblem& p, Ports ports, Stream) {
  map(p.dtype, p.count, ports[0], ports[1], ports[2], [](double x, double dy) {
    const double share = std::erfc(-x * std::numbers::sqrt2 / 2) / 2;
    const double density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    return dy * (share + x * density);
  });
}

void add_forward_reference(const BroadcastProblem& p, Ports ports, Stream) {
  combine(p, ports, [](double a, double b) { return a + b; });
}

void multiply_forward_reference(const BroadcastProblem& p, Ports ports, Stream) {
  combine(p, ports, [](double a, double b) { return a * b; });
}

void add_backward_reference(const BroadcastProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = ports[0].as<T>();
    const auto pass = [&](std::int64_t i, std::int64_t) { return double(dy[i]); };
    reduce<T>(p, ports[1], ports[2], pass, pass);
  });
}

void multiply_backward_reference(const BroadcastProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *a = ports[0].as<T>(), *b = ports[1].as<T>(), *dy = ports[2].as<T>();
    reduce<T>(
        p, ports[3], ports[4], [&](std::int64_t i, std::int64_t bi) { return double(dy[i]) * double(b[bi]); },
        [&](std::int64_t i, std::int64_t ai) { return double(dy[i]) * double(a[ai]); });
  });
}

void dropout_forward_reference(const DropoutProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    const std::int64_t* key = ports[1].as<std::int64_t>();
    T* y = ports[2].as<T>();
    std::uint8_t* mask = ports[3].as<std::uint8_t>();
    std::fill_n(mask, p.mask_shape().numel(), std::uint8_t{0});
    for (std::int64_t i = 0; i < p.count; ++i) {
      const bool kept = dropout_words(key, i / 4)[static_cast<std::size_t>(i % 4)] >= dropout_threshold(p.p);
      y[i] = kept ? static_cast<T>(double(x[i]) * dropout_scale(p.p)) : T(0);
      mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | kept << i % 8);
    }
  });
}

void dropout_backward_reference(const DropoutProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::uint8_t* mask = ports[0].as<std::uint8_t>();
    const T* dy = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    for (std::int64_t i = 0; i < p.count; ++i) {
      dx[i] = mask[i / 8] >> i % 8 & 1 ? static_cast<T>(double(dy[i]) * dropout_scale(p.p)) : T(0);
    }
  });
}

}  // namespace fovea
