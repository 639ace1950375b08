// softmax of each row, both directions ("warp_rows").
//
//   y = exp(x - max x) / sum exp(x - max x)        dx = y (dy - sum y dy)
//
// Idea: a warp per row, lanes along it; the row is read two or three times, after the first from the first-level
// cache, so nothing limits its length.
// Traffic: Cost's bytes as long as the rows at work fit that cache.
// Launch: rows / 8 blocks of 256 threads, 1024 at most. A row's sum: each lane's in order, then a tree.
#include "kernels/loss/loss_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T>
__global__ void __launch_bounds__(loss_threads) softmax_rows(SoftmaxProblem p, const T* x, T* y) {
  using A = Accumulator<T>;
  for_each_row(p.n, [&](std::int64_t row) {
    const T* from = x + row * p.k;
    T* to = y + row * p.k;
    const RowSum<A> of_row = sum_row<T, A>(from, p.k);
    for (std::int64_t k = simt::lane(); k < p.k; k += 32)
      to[k] = T(std::exp(A(from[k]) - of_row.largest) / of_row.sum);
  });
}

template <class T>
__global__ void __launch_bounds__(loss_threads)
    softmax_rows_backward(SoftmaxProblem p, const T* y, const T* dy, T* dx) {
  using A = Accumulator<T>;
  for_each_row(p.n, [&](std::int64_t row) {
    const std::int64_t first = row * p.k;
    A sum = A(0);
    for (std::int64_t k = simt::lane(); k < p.k; k += 32) sum += A(y[first + k]) * A(dy[first + k]);
    sum = simt::warp_sum(sum);
    for (std::int64_t k = simt::lane(); k < p.k; k += 32)
      dx[first + k] = T(A(y[first + k]) * (A(dy[first + k]) - sum));
  });
}

}  // namespace

bool supports_softmax_warp_rows(const SoftmaxProblem&) { return runs_here(); }

void softmax_forward_warp_rows(const SoftmaxProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    simt::launch("softmax.forward warp_rows", &softmax_rows<T>, row_launch(p.n, stream), p,
                 ports[0].as<const T>(), ports[1].as<T>());
  });
}

void softmax_backward_warp_rows(const SoftmaxProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    simt::launch("softmax.backward warp_rows", &softmax_rows_backward<T>, row_launch(p.n, stream), p,
                 ports[0].as<const T>(), ports[1].as<const T>(), ports[2].as<T>());
  });
}

}  // namespace fovea::SIMT_WORLD
