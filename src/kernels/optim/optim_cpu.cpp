// optim, own vectorised loops: all tensors are cut into chunks of one size, and one parallel loop runs over
// all chunks of all tensors, so that many small tensors cost no more than one large one. Each element is read
// and written once.
#include <cmath>
#include <numeric>

#include "kernels/cpu/parallel.hpp"
#include "kernels/optim/kernels.hpp"

namespace fovea {
namespace {

template <class F>
void for_each_chunk(const std::vector<Chunk>& chunks, F&& f) {
  parallel_for(static_cast<std::int64_t>(chunks.size()),
               [&](std::int64_t i) { f(chunks[static_cast<std::size_t>(i)]); });
}

template <class T>
void write_shadow(const Chunk& chunk) {
  if (chunk.row->shadow == 0) return;
  const T* param = array_at<const T>(chunk.row->param);
  auto* shadow = array_at<simt::bf16>(chunk.row->shadow);
  for (std::int64_t i = chunk.begin; i < chunk.end; ++i) shadow[i] = simt::bf16(static_cast<float>(param[i]));
}

template <class T>
void adam_chunk(const AdamProblem& p, double grad_scale, const Chunk& chunk) {
  const TensorRow& row = *chunk.row;
  const AdamFactors factors = adam_factors(p, row.step);
  const T keep = static_cast<T>(factors.param), decay = static_cast<T>(factors.decay);
  const T step_size = static_cast<T>(factors.step_size), root = static_cast<T>(factors.root);
  const T beta1 = static_cast<T>(p.beta1), rest1 = static_cast<T>(1 - p.beta1);
  const T beta2 = static_cast<T>(p.beta2), rest2 = static_cast<T>(1 - p.beta2);
  const T scale = static_cast<T>(grad_scale), eps = static_cast<T>(p.eps);
  T *param = array_at<T>(row.param), *first = array_at<T>(row.first), *second = array_at<T>(row.second);
  const T* grad = array_at<const T>(row.grad);
#pragma omp simd
  for (std::int64_t i = chunk.begin; i < chunk.end; ++i) {
    const T g = scale * grad[i] + decay * param[i];
    const T m = beta1 * first[i] + rest1 * g;
    const T v = beta2 * second[i] + rest2 * g * g;
    first[i] = m;
    second[i] = v;
    param[i] = keep * param[i] - step_size * m / (std::sqrt(v) * root + eps);
  }
}

template <class T>
void sgd_chunk(const SgdProblem& p, double grad_scale, const Chunk& chunk) {
  const T rate = static_cast<T>(p.learning_rate), momentum = static_cast<T>(p.momentum);
  const T decay = static_cast<T>(p.weight_decay), scale = static_cast<T>(grad_scale);
  T *param = array_at<T>(chunk.row->param), *buffer = array_at<T>(chunk.row->first);
  const T* grad = array_at<const T>(chunk.row->grad);
  if (p.momentum == 0) {
#pragma omp simd
    for (std::int64_t i = chunk.begin; i < chunk.end; ++i) {
      param[i] -= rate * (scale * grad[i] + decay * param[i]);
    }
    return;
  }
#pragma omp simd
  for (std::int64_t i = chunk.begin; i < chunk.end; ++i) {
    const T m = momentum * buffer[i] + (scale * grad[i] + decay * param[i]);
    buffer[i] = m;
    param[i] -= rate * m;
  }
}

}  // namespace

void adam_cpu(const AdamProblem& p, Ports ports, Stream) {
  const double scale = host_scale(p, ports);
  if (!is_usable(scale)) return;
  const std::vector<TensorRow> rows = tensor_rows(p, ports);
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_chunk(chunks_of(rows), [&](const Chunk& chunk) {
      adam_chunk<T>(p, scale, chunk);
      write_shadow<T>(chunk);
    });
  });
}

void sgd_cpu(const SgdProblem& p, Ports ports, Stream) {
  const double scale = host_scale(p, ports);
  if (!is_usable(scale)) return;
  const std::vector<TensorRow> rows = tensor_rows(p, ports);
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_chunk(chunks_of(rows), [&](const Chunk& chunk) {
      sgd_chunk<T>(p, scale, chunk);
      write_shadow<T>(chunk);
    });
  });
}

void sum_of_squares_cpu(const SumOfSquaresProblem& p, Ports ports, Stream) {
  const std::vector<TensorRow> rows = tensor_rows(p, ports);
  const std::vector<Chunk> chunks = chunks_of(rows);
  std::vector<double> sums(chunks.size());
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t at) {
      const Chunk& chunk = chunks[static_cast<std::size_t>(at)];
      const T* x = array_at<const T>(chunk.row->grad);
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = chunk.begin; i < chunk.end; ++i) sum += double(x[i]) * double(x[i]);
      sums[static_cast<std::size_t>(at)] = sum;
    });
  });
  *ports[1].as<double>() = std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace fovea
