// pointwise, own vectorised loops: all of it is bound by memory, so every kernel is one pass over blocks that
// fit the first-level cache, given out to the threads.
//
// A broadcast runs over the merged loops of broadcast_loops(): the innermost is a simd loop in which an
// operand is either walked or held. Its backward sums in double into one buffer per part of the summed
// dimensions; the number of parts is fixed by the problem and they are merged in order, so the result does
// not depend on the number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/vector_math.hpp"
#include "kernels/pointwise/kernels.hpp"

namespace fovea {
namespace {

constexpr std::int64_t block = 8192;

// y[i] = f(a[i], b[i]); y may be a or b.
template <class T, class F>
void map(std::int64_t count, const T* a, const T* b, T* y, F&& f) {
  parallel_blocks(count, block, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) y[i] = f(a[i], b[i]);
  });
}

template <class F>
void map_ports(Dtype dtype, std::int64_t count, const View& in0, const View& in1, const View& out, F&& f) {
  visit_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    map<T>(count, in0.as<T>(), in1.as<T>(), out.as<T>(), f);
  });
}

float sigmoid_of(float x) { return vector_math::sigmoid(x); }
double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

double normal_share(double x) { return std::erfc(-x * std::numbers::sqrt2 / 2) / 2; }
float gelu_of(float x) { return x * vector_math::normal(x).share; }
double gelu_of(double x) { return x * normal_share(x); }
float gelu_slope(float x) {
  const vector_math::Normal normal = vector_math::normal(x);
  return normal.share + x * normal.density;
}
double gelu_slope(double x) {
  return normal_share(x) + x * std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}

// The row (all dimensions but the last) of the loops: where it starts in a and b.
struct Row {
  std::int64_t a = 0, b = 0;
};
Row row_at(const BroadcastLoops& loops, std::int64_t row) {
  Row at;
  for (int d = loops.rank - 2; d >= 0; --d) {
    const auto i = static_cast<std::size_t>(d);
    at.a += row % loops.size[i] * loops.a_stride[i];
    at.b += row % loops.size[i] * loops.b_stride[i];
    row /= loops.size[i];
  }
  return at;
}

template <class T, class F>
void combine_row(const T* a, bool a_walks, const T* b, bool b_walks, T* y, std::int64_t count, F&& f) {
  if (a_walks && b_walks) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(a[i], b[i]);
  } else if (a_walks) {
    const T held = *b;
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(a[i], held);
  } else {
    const T held = *a;
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) y[i] = f(held, b[i]);
  }
}

template <class T, class F>
void combine(const BroadcastProblem& p, const T* a, const T* b, T* y, F&& f) {
  const std::int64_t count = p.y_shape().numel();
  if (count == 0) return;
  const BroadcastLoops loops = broadcast_loops(p);
  const auto last = static_cast<std::size_t>(loops.rank - 1);
  const std::int64_t length = loops.size[last], rows = count / length;
  const bool a_walks = loops.a_stride[last] != 0, b_walks = loops.b_stride[last] != 0;
  // Long rows are cut into blocks, short ones gathered, so that a unit of work is about one block.
  const std::int64_t cuts = (length + block - 1) / block,
                     gathered = std::max<std::int64_t>(1, block / length);
  parallel_for((rows + gathered - 1) / gathered * cuts, [&](std::int64_t unit) {
    const std::int64_t first = unit / cuts * gathered, begin = unit % cuts * block;
    const std::int64_t size = std::min(block, length - begin);
    for (std::int64_t row = first; row < std::min(rows, first + gathered); ++row) {
      const Row at = row_at(loops, row);
      combine_row(a + at.a + (a_walks ? begin : 0), a_walks, b + at.b + (b_walks ? begin : 0), b_walks,
                  y + row * length + begin, size, f);
    }
  });
}

// Adds a row's contributions to `sum`: element by element where the row is kept, else all to sum[0].
template <class T>
void add_row(const BroadcastSum& s, const T* dy, const T* other, double* sum) {
  const std::int64_t n = s.length;
  if (s.inner_kept) {
    if (other == nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) sum[i] += double(dy[i]);
    } else if (s.other_walks) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) sum[i] += double(dy[i]) * double(other[i]);
    } else {
      const double held = double(*other);
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) sum[i] += double(dy[i]) * held;
    }
    return;
  }
  double total = 0;
  if (other == nullptr) {
#pragma omp simd reduction(+ : total)
    for (std::int64_t i = 0; i < n; ++i) total += double(dy[i]);
  } else {  // an innermost dimension that one operand does not walk is walked by the other
#pragma omp simd reduction(+ : total)
    for (std::int64_t i = 0; i < n; ++i) total += double(dy[i]) * double(other[i]);
  }
  sum[0] += total;
}

// out = the sum of dy (times other, unless null) over the dimensions in which out is held.
template <class T>
void sum_to(const BroadcastLoops& loops, bool of_a, const T* dy, const T* other, T* out) {
  const BroadcastSum s = broadcast_sum(loops, of_a);
  const std::int64_t width = s.inner_kept ? s.length : 1;
  constexpr std::int64_t units = 64;  // enough for the threads of any machine; more cost memory
  const std::int64_t parts = std::clamp<std::int64_t>(units / s.kept.count, 1, s.summed.count);
  std::vector<double> sums(static_cast<std::size_t>(parts * s.kept.count * width));
  parallel_for(s.kept.count * parts, [&](std::int64_t unit) {
    const std::int64_t kept = unit / parts, part = unit % parts;
    double* sum = sums.data() + unit * width;
    const BroadcastPlace base = s.kept.behind({}, kept);
    for (std::int64_t i = s.summed.count * part / parts; i < s.summed.count * (part + 1) / parts; ++i) {
      const BroadcastPlace at = s.summed.behind(base, i);
      add_row(s, dy + at.y, other == nullptr ? nullptr : other + at.other, sum);
    }
  });
  parallel_for(s.kept.count, [&](std::int64_t kept) {
    double* sum = sums.data() + kept * parts * width;
    for (std::int64_t part = 1; part < parts; ++part) {
      for (std::int64_t i = 0; i < width; ++i) sum[i] += sum[part * width + i];
    }
    for (std::int64_t i = 0; i < width; ++i) out[kept * width + i] = static_cast<T>(sum[i]);
  });
}

// The gradient of a (of_a) or b. Where that operand has y's elements there is nothing to sum.
template <class T>
void operand_gradient(const BroadcastProblem& p, bool of_a, const T* dy, const T* other, T* out) {
  const Shape y = p.y_shape();
  const Shape &own = of_a ? p.a : p.b, &others = of_a ? p.b : p.a;
  if (own.numel() == 0) return;
  if (y.numel() == 0) {
    std::fill_n(out, own.numel(), T(0));
  } else if (own.numel() != y.numel()) {
    sum_to(broadcast_loops(p), of_a, dy, other, out);
  } else if (other == nullptr) {
    map<T>(y.numel(), dy, dy, out, [](T g, T) { return g; });
  } else {
    combine<T>({p.dtype, y, others}, dy, other, out, [](T g, T v) { return g * v; });
  }
}

// Dropout's mask: eight elements, one a byte, and as the bits of one byte.
std::uint8_t bits_of(const std::uint8_t* kept) {
  std::uint64_t eight;
  std::memcpy(&eight, kept, 8);
  return static_cast<std::uint8_t>(eight * 0x0102040810204080u >> 56);
}
void spread_bits(std::uint8_t bits, std::uint8_t* kept) {
  const std::uint64_t eight = bits * 0x0101010101010101u & 0x8040201008040201u;
  std::memcpy(kept, &eight, 8);
}

}  // namespace

void relu_forward_cpu(const PointwiseProblem& p, Ports ports, Stream) {
  map_ports(p.dtype, p.count, ports[0], ports[0], ports[1],
            [](auto x, auto) { return x < 0 ? decltype(x)(0) : x; });
}

void relu_backward_cpu(const PointwiseProblem& p, Ports ports, Stream) {
  map_ports(p.dtype, p.count, ports[0], ports[1], ports[2],
            [](auto y, auto dy) { return y <= 0 ? decltype(y)(0) : dy; });
}

void sigmoid_forward_cpu(const PointwiseProblem& p, Ports ports, Stream) {
  map_ports(p.dtype, p.count, ports[0], ports[0], ports[1], [](auto x, auto) { return sigmoid_of(x); });
}

void sigmoid_backward_cpu(const PointwiseProblem& p, Ports ports, Stream) {
  map_ports(p.dtype, p.count, ports[0], ports[1], ports[2], [](auto y, auto dy) { return dy * y * (1 - y); });
}

void gelu_forward_cpu(const PointwiseProblem& p, Ports ports, Stream) {
  map_ports(p.dtype, p.count, ports[0], ports[0], ports[1], [](auto x, auto) { return gelu_of(x); });
}

void gelu_backward_cpu(const PointwiseProblem& p, Ports ports, Stream) {
  map_ports(p.dtype, p.count, ports[0], ports[1], ports[2],
            [](auto x, auto dy) { return dy * gelu_slope(x); });
}

void add_forward_cpu(const BroadcastProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    combine<T>(p, ports[0].as<T>(), ports[1].as<T>(), ports[2].as<T>(), [](T a, T b) { return a + b; });
  });
}

void multiply_forward_cpu(const BroadcastProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    combine<T>(p, ports[0].as<T>(), ports[1].as<T>(), ports[2].as<T>(), [](T a, T b) { return a * b; });
  });
}

void add_backward_cpu(const BroadcastProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = ports[0].as<T>();
    if (ports[1]) operand_gradient<T>(p, true, dy, nullptr, ports[1].as<T>());
    if (ports[2]) operand_gradient<T>(p, false, dy, nullptr, ports[2].as<T>());
  });
}

void multiply_backward_cpu(const BroadcastProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *a = ports[0].as<T>(), *b = ports[1].as<T>(), *dy = ports[2].as<T>();
    if (ports[3]) operand_gradient<T>(p, true, dy, b, ports[3].as<T>());
    if (ports[4]) operand_gradient<T>(p, false, dy, a, ports[4].as<T>());
  });
}

void dropout_forward_cpu(const DropoutProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    const std::int64_t* key = ports[1].as<std::int64_t>();
    T* y = ports[2].as<T>();
    std::uint8_t* mask = ports[3].as<std::uint8_t>();
    const std::uint64_t threshold = dropout_threshold(p.p);
    const T scale = static_cast<T>(dropout_scale(p.p));
    parallel_blocks(p.count, block, [&](std::int64_t begin, std::int64_t end) {  // begin is a multiple of 8
      std::uint8_t kept[block];
      for (std::int64_t i = begin; i < end; i += 4) {
        const auto words = dropout_words(key, i / 4);
        for (std::int64_t j = 0; j < 4; ++j) {
          kept[i - begin + j] = i + j < end && words[static_cast<std::size_t>(j)] >= threshold;
        }
      }
      if (const std::int64_t rest = (end - begin) % 8; rest >= 1 && rest <= 4)
        std::fill_n(kept + (end - begin - rest + 4), 4, std::uint8_t{0});
      for (std::int64_t i = begin; i < end; i += 8) mask[i / 8] = bits_of(kept + (i - begin));
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) y[i] = kept[i - begin] ? x[i] * scale : T(0);
    });
  });
}

void dropout_backward_cpu(const DropoutProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::uint8_t* mask = ports[0].as<std::uint8_t>();
    const T* dy = ports[1].as<T>();
    T* dx = ports[2].as<T>();
    const T scale = static_cast<T>(dropout_scale(p.p));
    parallel_blocks(p.count, block, [&](std::int64_t begin, std::int64_t end) {
      std::uint8_t kept[block];
      for (std::int64_t i = begin; i < end; i += 8) spread_bits(mask[i / 8], kept + (i - begin));
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) dx[i] = kept[i - begin] ? dy[i] * scale : T(0);
    });
  });
}

}  // namespace fovea
