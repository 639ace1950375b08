// batch_norm by vectorised loops over contiguous rows, float and double: two reads of x and one write of y
// forward (normalisation, scale, shift and ReLU are one pass), x and dy twice and dx once backward.
//
// Statistics: rows are split into parts, a number fixed by the problem; a part walks blocks of rows that stay
// in the first caches, sums x - k and (x - k)^2 with k the block's own first row (so neither a large mean nor
// one outlier elsewhere cancels digits), and merges blocks, then parts, in order and in double by Chan, Golub
// and LeVeque's update (1979). The second pass takes the parts in reverse: the last ones read are still in
// the cache. Rows of few channels are taken several at a time, as one wide row: loops stay long, and an
// accumulator per channel of the wide row is folded at the end of a block; rows of slices, which do not lie next to each
// other, one at a time. Where the tensor is larger than caches, y is written past them, which saves reading its lines
// first.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/row_parts.hpp"
#include "kernels/cpu/stream_store.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea {
namespace {

constexpr std::int64_t elements_per_part = 32768;  // at least: less is not worth a merge
constexpr std::int64_t block_visits = 128;  // rows (wide ones) summed in the dtype before doubles take over
constexpr std::int64_t wide_channels = 512;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Parts : RowParts {
  std::int64_t channels, x_pitch, y_pitch, fold;
  explicit Parts(const BatchNormProblem& p)
      : RowParts(p.rows, p.channels, elements_per_part),
        channels(p.channels),
        x_pitch(p.x_slice.pitch(p.channels)),
        y_pitch(p.y_slice.pitch(p.channels)),
        fold(p.has_slices() ? 1 : std::max<std::int64_t>(1, wide_channels / p.channels)) {}
  std::int64_t block_rows() const { return block_visits * fold; }
  std::int64_t wide() const { return fold * channels; }
};

// Visits rows [begin, end), a wide row at a time: f(first row, elements). One after the other, as memory is
// prefetched best; what is left is a wide row cut short.
template <class F>
void visit_rows(const Parts& parts, std::int64_t begin, std::int64_t end, F&& f) {
  for (std::int64_t r = begin; r < end; r += parts.fold)
    f(r, std::min(parts.wide(), (end - r) * parts.channels));
}

// One copy per row of a wide row.
template <class T, class From>
std::vector<T> widened(const Parts& parts, const From* values) {
  std::vector<T> wide(size(parts.wide()));
  for (T* at = wide.data(); at != wide.data() + parts.wide(); at += parts.channels) {
#pragma omp simd
    for (std::int64_t c = 0; c < parts.channels; ++c) at[c] = static_cast<T>(values[c]);
  }
  return wide;
}

// sum += the copies, in order; they are zeroed for the next block.
template <class T>
void fold_into(const Parts& parts, std::vector<T>& wide, double* sum) {
  for (T* at = wide.data(); at != wide.data() + parts.wide(); at += parts.channels) {
#pragma omp simd
    for (std::int64_t c = 0; c < parts.channels; ++c) {
      sum[c] += double(at[c]);
      at[c] = 0;
    }
  }
}

// Calls f(part) for all parts, the last first.
template <class F>
void for_parts_reversed(const Parts& parts, F&& f) {
  parallel_for(parts.count, [&](std::int64_t i) { f(parts.count - 1 - i); });
}

// Per-channel numbers of every pass, widened: z = (x - centre) scale + shift.
template <class T>
struct Affine {
  std::vector<T> centre, scale, shift;
};

template <class T>
Affine<T> affine_of(const Parts& parts, const T* mean, const T* gamma, const T* beta,
                    const std::vector<double>& invstd) {
  std::vector<double> scale(size(parts.channels));
  for (std::int64_t c = 0; c < parts.channels; ++c) scale[size(c)] = double(gamma[c]) * invstd[size(c)];
  return {widened<T>(parts, mean), widened<T>(parts, scale.data()), widened<T>(parts, beta)};
}

template <class T>
std::vector<double> invstd_of_variance(const BatchNormProblem& p, const T* variance) {
  std::vector<double> invstd(size(p.channels));
  for (std::int64_t c = 0; c < p.channels; ++c) invstd[size(c)] = 1 / std::sqrt(double(variance[c]) + p.eps);
  return invstd;
}

// ---- statistics

// sum += x - centre and squares += (x - centre)^2 over a wide row.
template <class T>
void add_moments(const T* x, std::int64_t elements, const T* centre, T* sum, T* squares) {
#pragma omp simd
  for (std::int64_t c = 0; c < elements; ++c) {
    const T d = x[c] - centre[c];
    sum[c] += d;
    squares[c] += d * d;
  }
}

// The mean and the sum of squares around it of what came before (count rows) and n rows more.
void merge_moments(std::int64_t channels, double count, double n, const double* more_mean,
                   const double* more_squares, double* mean, double* squares) {
  const double weight = n / (count + n);
#pragma omp simd
  for (std::int64_t c = 0; c < channels; ++c) {
    const double delta = more_mean[c] - mean[c];
    mean[c] += delta * weight;
    squares[c] += more_squares[c] + delta * delta * count * weight;
  }
}

template <class T>
void part_moments(const T* x, const Parts& parts, std::int64_t begin, std::int64_t end, double* mean,
                  double* squares) {
  const std::int64_t channels = parts.channels;
  std::vector<T> sum(size(parts.wide())), around(size(parts.wide()));
  std::vector<double> block_mean(size(channels)), block_squares(size(channels));
  std::fill_n(mean, channels, 0.0);
  std::fill_n(squares, channels, 0.0);
  for (std::int64_t at = begin; at < end; at += parts.block_rows()) {
    const std::int64_t stop = std::min(at + parts.block_rows(), end);
    const std::vector<T> centre = widened<T>(parts, x + at * parts.x_pitch);
    visit_rows(parts, at, stop, [&](std::int64_t r, std::int64_t elements) {
      add_moments(x + r * parts.x_pitch, elements, centre.data(), sum.data(), around.data());
    });
    std::fill(block_mean.begin(), block_mean.end(), 0.0);
    std::fill(block_squares.begin(), block_squares.end(), 0.0);
    fold_into(parts, sum, block_mean.data());
    fold_into(parts, around, block_squares.data());
    const double n = static_cast<double>(stop - at);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double s = block_mean[size(c)];
      block_mean[size(c)] = double(centre[size(c)]) + s / n;
      block_squares[size(c)] -= s * s / n;
    }
    merge_moments(channels, static_cast<double>(at - begin), n, block_mean.data(), block_squares.data(), mean,
                  squares);
  }
}

struct Moments {
  std::vector<double> mean,
      squares;  // of part 0, then 1, ...; the first `channels` are the merged ones at last
};

template <class T>
Moments moments_of(const BatchNormProblem& p, const Parts& parts, const T* x) {
  Moments m{std::vector<double>(size(parts.count * p.channels)),
            std::vector<double>(size(parts.count * p.channels))};
  parallel_for(parts.count, [&](std::int64_t i) {
    part_moments(x, parts, parts.begin(i), parts.end(i), m.mean.data() + i * p.channels,
                 m.squares.data() + i * p.channels);
  });
  for (std::int64_t i = 1; i < parts.count; ++i) {
    merge_moments(p.channels, static_cast<double>(parts.begin(i)),
                  static_cast<double>(parts.end(i) - parts.begin(i)), m.mean.data() + i * p.channels,
                  m.squares.data() + i * p.channels, m.mean.data(), m.squares.data());
  }
  return m;
}

// ---- the passes over rows

// writes_past_cache() where rows are `pitch` apart.
template <class T>
bool writes_slice_past_cache(const T* out, const Parts& parts, std::int64_t pitch) {
  return pitch * static_cast<std::int64_t>(sizeof(T)) % 64 == 0 &&
         writes_past_cache(out, parts.channels, parts.rows);
}

template <bool Relu, class T>
inline T activated(T z) {
  return Relu && z < 0 ? T(0) : z;
}

// dy where the ReLU let z through; a NaN passes, as in PyTorch.
template <bool Relu, class T>
inline T masked(T dy, T z) {
  return Relu && z <= 0 ? T(0) : dy;
}

// The compiler loads dy under the mask, so no load of it starts before x has arrived, and misses would queue
// up: with ReLU the next wide row is asked for early.
template <bool Relu, class T>
inline void prefetch_row(const T* row, std::int64_t elements) {
  if constexpr (Relu) {
    constexpr std::int64_t line = 64 / sizeof(T);
    for (std::int64_t c = 0; c < elements; c += line) __builtin_prefetch(row + c);
  }
}

template <bool Relu, class T>
void forward_rows(const T* x, const Parts& parts, std::int64_t begin, std::int64_t end, const Affine<T>& a,
                  T* y, bool past_cache) {
  const T *centre = a.centre.data(), *scale = a.scale.data(), *shift = a.shift.data();
  visit_rows(parts, begin, end, [&](std::int64_t r, std::int64_t elements) {
    const T* from = x + r * parts.x_pitch;
    write_row(y + r * parts.y_pitch, elements, past_cache, [&](std::int64_t c) {
      return activated<Relu, T>((from[c] - centre[c]) * scale[c] + shift[c]);
    });
  });
  finish_writes(past_cache);
}

// What happens to dx in the pass that makes the sums.
enum class Dx { none, write, add };

// sum += g and product += g (x - centre) over a wide row; with dx, also dx = g scale, or += g scale.
template <bool Relu, Dx dx_too, class T>
void add_gradients(const T* x, const T* dy, std::int64_t elements, const Affine<T>& a, T* sum, T* product,
                   T* dx) {
  const T *centre = a.centre.data(), *scale = a.scale.data(), *shift = a.shift.data();
#pragma omp simd
  for (std::int64_t c = 0; c < elements; ++c) {
    const T d = x[c] - centre[c];
    const T g = masked<Relu, T>(dy[c], d * scale[c] + shift[c]);
    sum[c] += g;
    product[c] += g * d;
    if constexpr (dx_too == Dx::write) dx[c] = g * scale[c];
    if constexpr (dx_too == Dx::add) dx[c] += g * scale[c];
  }
}

// The sums of a part, in double, of blocks summed in T.
template <bool Relu, Dx dx_too, class T>
void part_gradients(const T* x, const T* dy, const Parts& parts, std::int64_t begin, std::int64_t end,
                    const Affine<T>& a, double* sum, double* product, T* dx) {
  std::vector<T> s(size(parts.wide())), q(size(parts.wide()));
  std::fill_n(sum, parts.channels, 0.0);
  std::fill_n(product, parts.channels, 0.0);
  for (std::int64_t at = begin; at < end; at += parts.block_rows()) {
    visit_rows(parts, at, std::min(at + parts.block_rows(), end), [&](std::int64_t r, std::int64_t elements) {
      prefetch_row<Relu>(dy + (r + parts.fold) * parts.y_pitch, elements);
      add_gradients<Relu, dx_too>(x + r * parts.x_pitch, dy + r * parts.y_pitch, elements, a, s.data(),
                                  q.data(), dx + r * parts.x_pitch);
    });
    fold_into(parts, s, sum);
    fold_into(parts, q, product);
  }
}

struct GradientSums {
  std::vector<double> g, gd;  // sum of g, and of g (x - mean)
};

template <bool Relu, Dx dx_too, class T>
GradientSums gradient_sums(const BatchNormProblem& p, const Parts& parts, const T* x, const T* dy,
                           const Affine<T>& a, T* dx) {
  GradientSums sums{std::vector<double>(size(parts.count * p.channels)),
                    std::vector<double>(size(parts.count * p.channels))};
  parallel_for(parts.count, [&](std::int64_t i) {
    part_gradients<Relu, dx_too>(x, dy, parts, parts.begin(i), parts.end(i), a,
                                 sums.g.data() + i * p.channels, sums.gd.data() + i * p.channels, dx);
  });
  for (std::int64_t i = 1; i < parts.count; ++i) {
    for (std::int64_t c = 0; c < p.channels; ++c) {
      sums.g[size(c)] += sums.g[size(i * p.channels + c)];
      sums.gd[size(c)] += sums.gd[size(i * p.channels + c)];
    }
  }
  return sums;
}

// dx (+)= g scale - (x - centre) slope - offset
template <bool Relu, bool Add, class T>
void dx_rows(const T* x, const T* dy, const Parts& parts, std::int64_t begin, std::int64_t end,
             const Affine<T>& a, const T* slope, const T* offset, T* dx, bool past_cache) {
  const T *centre = a.centre.data(), *scale = a.scale.data(), *shift = a.shift.data();
  visit_rows(parts, begin, end, [&](std::int64_t r, std::int64_t elements) {
    prefetch_row<Relu>(dy + (r + parts.fold) * parts.y_pitch, elements);
    T* out = dx + r * parts.x_pitch;
    const T *from = x + r * parts.x_pitch, *gradient = dy + r * parts.y_pitch;
    write_row(out, elements, past_cache, [=](std::int64_t c) {
      const T d = from[c] - centre[c];
      const T g = masked<Relu, T>(gradient[c], d * scale[c] + shift[c]);
      const T value = g * scale[c] - (d * slope[c] + offset[c]);
      return Add ? out[c] + value : value;
    });
  });
  finish_writes(past_cache);
}

template <class T>
void write_parameter_gradients(const GradientSums& sums, const std::vector<double>& invstd,
                               std::int64_t channels, T* dgamma, T* dbeta) {
  for (std::int64_t c = 0; c < channels; ++c) {
    dgamma[c] = static_cast<T>(sums.gd[size(c)] * invstd[size(c)]);
    dbeta[c] = static_cast<T>(sums.g[size(c)]);
  }
}

template <bool Relu, class T>
void write_dx(const BatchNormProblem& p, const Parts& parts, const T* x, const T* dy, const Affine<T>& a,
              const GradientSums& sums, const std::vector<double>& invstd, T* dx) {
  std::vector<double> slope(size(p.channels)), offset(size(p.channels));
  for (std::int64_t c = 0; c < p.channels; ++c) {
    const double scale = double(a.scale[size(c)]) / static_cast<double>(p.rows);
    slope[size(c)] = scale * sums.gd[size(c)] * invstd[size(c)] * invstd[size(c)];
    offset[size(c)] = scale * sums.g[size(c)];
  }
  const std::vector<T> wide_slope = widened<T>(parts, slope.data()),
                       wide_offset = widened<T>(parts, offset.data());
  const bool past_cache = dx != dy && !p.accumulate && writes_slice_past_cache(dx, parts, parts.x_pitch);
  for_parts_reversed(parts, [&](std::int64_t i) {
    const auto rows = p.accumulate ? &dx_rows<Relu, true, T> : &dx_rows<Relu, false, T>;
    rows(x, dy, parts, parts.begin(i), parts.end(i), a, wide_slope.data(), wide_offset.data(), dx,
         past_cache);
  });
}

template <class T>
void forward(const BatchNormProblem& p, const Parts& parts, const T* x, const Affine<T>& a, T* y) {
  const bool past_cache = writes_slice_past_cache(y, parts, parts.y_pitch);
  for_parts_reversed(parts, [&](std::int64_t i) {
    if (p.relu) {
      forward_rows<true>(x, parts, parts.begin(i), parts.end(i), a, y, past_cache);
    } else {
      forward_rows<false>(x, parts, parts.begin(i), parts.end(i), a, y, past_cache);
    }
  });
}

template <bool Relu, class T>
void backward_training(const BatchNormProblem& p, Ports ports) {
  const T *x = p.x_slice.first_of<T>(ports[0]), *dy = p.y_slice.first_of<T>(ports[1]);
  T* dx = p.x_slice.first_of<T>(ports[6]);
  const Parts parts(p);
  const std::vector<double> invstd(ports[5].as<T>(), ports[5].as<T>() + p.channels);
  const Affine<T> a = affine_of(parts, ports[4].as<T>(), ports[2].as<T>(), ports[3].as<T>(), invstd);
  const GradientSums sums = gradient_sums<Relu, Dx::none>(p, parts, x, dy, a, dx);
  write_parameter_gradients(sums, invstd, p.channels, ports[7].as<T>(), ports[8].as<T>());
  write_dx<Relu>(p, parts, x, dy, a, sums, invstd, dx);
}

// One pass: dx does not wait for the sums.
template <bool Relu, class T>
void backward_inference(const BatchNormProblem& p, Ports ports) {
  const Parts parts(p);
  const std::vector<double> invstd = invstd_of_variance(p, ports[5].as<T>());
  const Affine<T> a = affine_of(parts, ports[4].as<T>(), ports[2].as<T>(), ports[3].as<T>(), invstd);
  const auto pass = p.accumulate ? &gradient_sums<Relu, Dx::add, T> : &gradient_sums<Relu, Dx::write, T>;
  const GradientSums sums = pass(p, parts, p.x_slice.first_of<T>(ports[0]), p.y_slice.first_of<T>(ports[1]),
                                 a, p.x_slice.first_of<T>(ports[6]));
  write_parameter_gradients(sums, invstd, p.channels, ports[7].as<T>(), ports[8].as<T>());
}

}  // namespace

void batch_norm_forward_training_cpu(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = p.x_slice.first_of<T>(ports[0]);
    T *running_mean = ports[3].as<T>(), *running_var = ports[4].as<T>();
    T *mean = ports[6].as<T>(), *invstd_out = ports[7].as<T>();
    const Parts parts(p);
    BatchNormProblem of_x = p;  // rows of x alone may lie side by side
    of_x.y_slice = {};
    const Moments moments = moments_of(of_x, Parts(of_x), x);
    const double rows = static_cast<double>(p.rows), keep = 1 - p.momentum;
    std::vector<double> invstd(size(p.channels));
    for (std::int64_t c = 0; c < p.channels; ++c) {
      const double squares = moments.squares[size(c)];
      invstd[size(c)] = 1 / std::sqrt(squares / rows + p.eps);
      mean[c] = static_cast<T>(moments.mean[size(c)]);
      invstd_out[c] = static_cast<T>(invstd[size(c)]);
      running_mean[c] = static_cast<T>(keep * double(running_mean[c]) + p.momentum * moments.mean[size(c)]);
      running_var[c] = static_cast<T>(keep * double(running_var[c]) + p.momentum * squares / (rows - 1));
    }
    forward(p, parts, x, affine_of(parts, mean, ports[1].as<T>(), ports[2].as<T>(), invstd),
            p.y_slice.first_of<T>(ports[5]));
  });
}

void batch_norm_forward_inference_cpu(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::vector<double> invstd = invstd_of_variance(p, ports[4].as<T>());
    const Parts parts(p);
    forward(p, parts, p.x_slice.first_of<T>(ports[0]),
            affine_of(parts, ports[3].as<T>(), ports[1].as<T>(), ports[2].as<T>(), invstd),
            p.y_slice.first_of<T>(ports[5]));
  });
}

void batch_norm_backward_cpu(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    p.relu ? backward_training<true, T>(p, ports) : backward_training<false, T>(p, ports);
  });
}

void batch_norm_backward_inference_cpu(const BatchNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    p.relu ? backward_inference<true, T>(p, ports) : backward_inference<false, T>(p, ports);
  });
}

}  // namespace fovea
