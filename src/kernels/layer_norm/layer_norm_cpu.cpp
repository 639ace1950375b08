// layer_norm by vectorised loops over contiguous rows, float and double: a row is read once from memory, its further passes
// are over what the first cache holds. Backward the sums over rows ride along.
//
// Sums of a row run in `chains` vectors side by side (an add's latency is that of four), which also keeps their chains
// short; longer rows are summed in pieces whose sums are added in double. dgamma and dbeta: rows are cut into parts, a
// number fixed by the problem; a part sums blocks of 128 rows in the dtype and those in double, and the parts are merged in
// order. Large outputs are written past the caches.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/row_parts.hpp"
#include "kernels/cpu/stream_store.hpp"
#include "kernels/layer_norm/kernels.hpp"

namespace fovea {
namespace {

constexpr std::int64_t elements_per_part = 16384, block_rows = 128;
constexpr std::int64_t piece = 1024;  // elements of a row that are summed in the dtype
constexpr std::int64_t chains = 64;   // elements side by side

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// The sum of values(c) for c in [0, count).
template <class T, class F>
double row_sum(std::int64_t count, F&& value) {
  double total = 0;
  for (std::int64_t from = 0; from < count; from += piece) {
    const std::int64_t end = std::min(count, from + piece), whole = from + (end - from) / chains * chains;
    T side[chains] = {};
    for (std::int64_t c = from; c < whole; c += chains) {
#pragma omp simd
      for (std::int64_t i = 0; i < chains; ++i) side[i] += value(c + i);
    }
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = whole; c < end; ++c) sum += value(c);
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < chains; ++i) sum += side[i];
    total += double(sum);
  }
  return total;
}

template <class T>
struct RowStatistics {
  T mean, rstd;
};

template <class T>
RowStatistics<T> statistics_of(const T* x, std::int64_t channels, double eps) {
  const auto count = static_cast<double>(channels);
  const double mean = row_sum<T>(channels, [&](std::int64_t c) { return x[c]; }) / count;
  const T near = static_cast<T>(mean);
  const double squares = row_sum<T>(channels, [&](std::int64_t c) { return (x[c] - near) * (x[c] - near); });
  const double off = mean - double(near);  // what rounding moved the centre by
  return {near, static_cast<T>(1 / std::sqrt(squares / count - off * off + eps))};
}

// Column sums of a part: blocks in T, then in double.
template <class T>
struct ColumnSums {
  std::vector<T> dgamma, dbeta;
  explicit ColumnSums(std::int64_t channels) : dgamma(size(channels)), dbeta(size(channels)) {}
  void fold_into(double* sums) {
    const auto channels = static_cast<std::int64_t>(dgamma.size());
    for (std::int64_t c = 0; c < channels; ++c) {
      sums[c] += double(dgamma[size(c)]);
      sums[channels + c] += double(dbeta[size(c)]);
      dgamma[size(c)] = dbeta[size(c)] = 0;
    }
  }
};

// The means over a row of g and g h.
struct RowMeans {
  double g, gh;
};

// Both means in one go, and the column sums of the row.
template <class T>
RowMeans gradient_means(const T* x, const T* dy, const T* gamma, RowStatistics<T> row, std::int64_t channels,
                        ColumnSums<T>& sums) {
  T *dgamma = sums.dgamma.data(), *dbeta = sums.dbeta.data();
  RowMeans means{0, 0};
  for (std::int64_t from = 0; from < channels; from += piece) {
    const std::int64_t end = std::min(channels, from + piece);
    T g_sum = 0, product = 0;
#pragma omp simd reduction(+ : g_sum, product)
    for (std::int64_t c = from; c < end; ++c) {
      const T h = (x[c] - row.mean) * row.rstd, g = dy[c] * gamma[c];
      g_sum += g;
      product += g * h;
      dgamma[c] += dy[c] * h;
      dbeta[c] += dy[c];
    }
    means.g += double(g_sum);
    means.gh += double(product);
  }
  const auto count = static_cast<double>(channels);
  return {means.g / count, means.gh / count};
}

template <class T>
void backward_part(const LayerNormProblem& p, Ports ports, std::int64_t begin, std::int64_t end,
                   bool past_cache, double* sums) {
  const T* gamma = ports[2].as<T>();
  ColumnSums<T> block(p.channels);
  for (std::int64_t r = begin; r < end; ++r) {
    const T *x = ports[0].as<T>() + r * p.channels, *dy = ports[1].as<T>() + r * p.channels;
    const RowStatistics<T> row{ports[3].as<T>()[r], ports[4].as<T>()[r]};
    const RowMeans means = gradient_means(x, dy, gamma, row, p.channels, block);
    const T scale = row.rstd, mean_g = static_cast<T>(means.g), mean_gh = static_cast<T>(means.gh);
    write_row(ports[5].as<T>() + r * p.channels, p.channels, past_cache, [&](std::int64_t c) {
      const T h = (x[c] - row.mean) * row.rstd;
      return scale * (dy[c] * gamma[c] - mean_g - h * mean_gh);
    });
    if ((r + 1 - begin) % block_rows == 0 || r + 1 == end) block.fold_into(sums);
  }
  finish_writes(past_cache);
}

}  // namespace

void layer_norm_forward_cpu(const LayerNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *gamma = ports[1].as<T>(), *beta = ports[2].as<T>();
    T *mean = ports[4].as<T>(), *rstd = ports[5].as<T>();
    const RowParts parts(p.rows, p.channels, elements_per_part);
    const bool past_cache =
        ports[3].data != ports[0].data && writes_past_cache(ports[3].as<T>(), p.channels, p.rows);
    parallel_for(parts.count, [&](std::int64_t part) {
      for (std::int64_t r = parts.begin(part); r < parts.end(part); ++r) {
        const T* x = ports[0].as<T>() + r * p.channels;
        const RowStatistics<T> row = statistics_of(x, p.channels, p.eps);
        write_row(ports[3].as<T>() + r * p.channels, p.channels, past_cache,
                  [&](std::int64_t c) { return (x[c] - row.mean) * row.rstd * gamma[c] + beta[c]; });
        if (mean != nullptr) mean[r] = row.mean;
        if (rstd != nullptr) rstd[r] = row.rstd;
      }
      finish_writes(past_cache);
    });
  });
}

void layer_norm_backward_cpu(const LayerNormProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowParts parts(p.rows, p.channels, elements_per_part);
    const bool past_cache =
        ports[5].data != ports[1].data && writes_past_cache(ports[5].as<T>(), p.channels, p.rows);
    std::vector<double> sums(size(parts.count * 2 * p.channels));
    parallel_for(parts.count, [&](std::int64_t part) {
      backward_part<T>(p, ports, parts.begin(part), parts.end(part), past_cache,
                       sums.data() + part * 2 * p.channels);
    });
    merge_parts(sums.data(), parts.count, 2 * p.channels, p.channels, ports[6].as<T>());
    merge_parts(sums.data() + p.channels, parts.count, 2 * p.channels, p.channels, ports[7].as<T>());
  });
}

}  // namespace fovea
