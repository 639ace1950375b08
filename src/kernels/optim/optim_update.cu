// adam and sgd, all tensors in one pass ("multi_tensor").
//
//   plan     one block: the running sum of the rows' chunks, and per row the factors of its step t in double
//   update   a block per chunk of 4096 elements of one tensor: each element read, updated and written once; the
//            bf16 shadow of the parameter is written from the same registers
//
// Idea: the arithmetic is nothing next to the traffic, so what counts is 16-byte accesses and one launch for all
// tensors, most of which are a few hundred elements. A tensor of which an array is not 16-byte aligned takes scalar
// accesses, the others do not notice.
//
// Traffic: Cost's bytes (adam 7 arrays, sgd 3 or 5) and 2 bytes per element of a shadow; the plan is a few bytes per
// tensor and stays in the second-level cache.
// Launch: 1 block, then count / 4096 + tensors blocks, of 256 threads. No sums, so nothing depends on an order.
#include "kernels/optim/optim_multi_tensor.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// The arrays of a row, and from where on this block's part of them is.
template <class T>
struct RowArrays {
  T *param, *first, *second;
  const T* grad;
  simt::bf16* shadow;
  __device__ __forceinline__ explicit RowArrays(const TensorRow& row)
      : param(array_at<T>(row.param)),
        first(array_at<T>(row.first)),
        second(array_at<T>(row.second)),
        grad(array_at<const T>(row.grad)),
        shadow(array_at<simt::bf16>(row.shadow)) {}
};

/// Whether all arrays of the row, those that are absent included, take 16-byte accesses.
__device__ __forceinline__ bool is_aligned(const TensorRow& row) {
  return ((row.param | row.grad | row.first | row.second | row.shadow) & 15) == 0;
}

template <int V, class T, class Rule>
__device__ __forceinline__ void update_elements(const RowArrays<T>& t, std::int64_t i, const Rule& rule) {
  simt::Vec<T, V> param = simt::load<V>(t.param + i), first{}, second{};
  const simt::Vec<T, V> grad = simt::load<V>(t.grad + i);
  if constexpr (Rule::moments > 0) first = simt::load<V>(t.first + i);
  if constexpr (Rule::moments > 1) second = simt::load<V>(t.second + i);
#pragma unroll
  for (int e = 0; e < V; ++e) rule(param[e], grad[e], first[e], second[e]);
  simt::store(t.param + i, param);
  if constexpr (Rule::moments > 0) simt::store(t.first + i, first);
  if constexpr (Rule::moments > 1) simt::store(t.second + i, second);
  if (t.shadow == nullptr) return;
  simt::Vec<simt::bf16, V> shadow;
#pragma unroll
  for (int e = 0; e < V; ++e) shadow[e] = simt::bf16(static_cast<float>(param[e]));
  simt::store(t.shadow + i, shadow);
}

/// The elements [begin, end) of a row, by all threads of the block; begin is a multiple of every vector.
template <class T, class Rule>
__device__ __forceinline__ void update_chunk(const TensorRow& row, const TensorChunk& chunk,
                                             const Rule& rule) {
  constexpr int vector = vector_of<T>;
  const RowArrays<T> t(row);
  std::int64_t begin = chunk.begin;
  if (is_aligned(row)) {
    const std::int64_t whole = chunk.end - (chunk.end - begin) % vector;
    for (std::int64_t i = begin + std::int64_t{threadIdx.x} * vector; i < whole; i += optim_threads * vector)
      update_elements<vector>(t, i, rule);
    begin = whole;
  }
  for (std::int64_t i = begin + threadIdx.x; i < chunk.end; i += optim_threads)
    update_elements<1>(t, i, rule);
}

// ---- adam

template <class T>
struct AdamRule {
  static constexpr int moments = 2;
  T keep, decay, step_size, root;
  T beta1, rest1, beta2, rest2, eps, scale;
  __device__ __forceinline__ AdamRule(const AdamProblem& p, const AdamFactors& f, double scale)
      : keep(T(f.param)),
        decay(T(f.decay)),
        step_size(T(f.step_size)),
        root(T(f.root)),
        beta1(T(p.beta1)),
        rest1(T(1 - p.beta1)),
        beta2(T(p.beta2)),
        rest2(T(1 - p.beta2)),
        eps(T(p.eps)),
        scale(T(scale)) {}
  __device__ __forceinline__ void operator()(T& param, T grad, T& first, T& second) const {
    const T g = scale * grad + decay * param;
    first = beta1 * first + rest1 * g;
    second = beta2 * second + rest2 * g * g;
    param = keep * param - step_size * first / (std::sqrt(second) * root + eps);
  }
};

__global__ void __launch_bounds__(optim_threads)
    adam_plan(AdamProblem p, TensorTable table, int* first_chunk, AdamFactors* factors) {
  plan_chunks(table, first_chunk, [&](int i) { factors[i] = adam_factors(p, table[i].step); });
}

template <class T>
__global__ void __launch_bounds__(optim_threads)
    adam_update(AdamProblem p, TensorTable table, const int* first_chunk, const AdamFactors* factors,
                const double* scale_port) {
  const double scale = scale_of(p.grad_scale, scale_port);
  const TensorChunk chunk = find_chunk(table, first_chunk);
  if (!is_usable(scale) || chunk.begin == chunk.end) return;  // no barrier below
  update_chunk<T>(table[chunk.row], chunk, AdamRule<T>(p, factors[chunk.row], scale));
}

// ---- sgd

template <class T, bool with_momentum>
struct SgdRule {
  static constexpr int moments = with_momentum ? 1 : 0;
  T rate, momentum, decay, scale;
  __device__ __forceinline__ SgdRule(const SgdProblem& p, double scale)
      : rate(T(p.learning_rate)), momentum(T(p.momentum)), decay(T(p.weight_decay)), scale(T(scale)) {}
  __device__ __forceinline__ void operator()(T& param, T grad, T& first, T&) const {
    T g = scale * grad + decay * param;
    if constexpr (with_momentum) first = g = momentum * first + g;
    param -= rate * g;
  }
};

__global__ void __launch_bounds__(optim_threads) sgd_plan(TensorTable table, int* first_chunk) {
  plan_chunks(table, first_chunk, [](int) {});
}

template <class T, bool with_momentum>
__global__ void __launch_bounds__(optim_threads)
    sgd_update(SgdProblem p, TensorTable table, const int* first_chunk, const double* scale_port) {
  const double scale = scale_of(p.grad_scale, scale_port);
  const TensorChunk chunk = find_chunk(table, first_chunk);
  if (!is_usable(scale) || chunk.begin == chunk.end) return;  // no barrier below
  update_chunk<T>(table[chunk.row], chunk, SgdRule<T, with_momentum>(p, scale));
}

template <class F>
void visit_f32_f64(Dtype dtype, F&& f) {
  if (dtype == Dtype::f64) return f(double{});
  f(float{});
}

}  // namespace

bool supports_adam_multi_tensor(const AdamProblem& p) { return supports_multi_tensor(p); }
bool supports_sgd_multi_tensor(const SgdProblem& p) { return supports_multi_tensor(p); }

void adam_multi_tensor(const AdamProblem& p, Ports ports, Stream stream) {
  const TensorTable table = table_of(p, ports);
  const Scratch<int> first_chunk(table.tensors + 1, stream, "chunks before each tensor");
  const Scratch<AdamFactors> factors(table.tensors, stream, "factors of each tensor");
  simt::launch("adam.update multi_tensor, plan", &adam_plan, chunk_launch(1, stream), p, table,
               first_chunk.data(), factors.data());
  visit_f32_f64(p.dtype, [&](auto zero) {
    simt::launch("adam.update multi_tensor, update", &adam_update<decltype(zero)>,
                 chunk_launch(most_chunks(p), stream), p, table, first_chunk.data(), factors.data(),
                 scale_port(p, ports));
  });
}

void sgd_multi_tensor(const SgdProblem& p, Ports ports, Stream stream) {
  const TensorTable table = table_of(p, ports);
  const Scratch<int> first_chunk(table.tensors + 1, stream, "chunks before each tensor");
  simt::launch("sgd.update multi_tensor, plan", &sgd_plan, chunk_launch(1, stream), table,
               first_chunk.data());
  visit_f32_f64(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    simt::launch("sgd.update multi_tensor, update",
                 p.momentum > 0 ? &sgd_update<T, true> : &sgd_update<T, false>,
                 chunk_launch(most_chunks(p), stream), p, table, first_chunk.data(), scale_port(p, ports));
  });
}

}  // namespace fovea::SIMT_WORLD
