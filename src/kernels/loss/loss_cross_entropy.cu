// softmax cross-entropy, both directions ("warp_rows").
//
//   forward    one block; a warp takes every eighth row: largest value, sum of exponentials, then the row's
//              probabilities and its share of the loss; the warps' shares are added in order
//   backward   a warp per row; dlogits = scale ( p (hard + even all) - target )
//
// Idea: the logits of a batch are a few hundred numbers, so the launch is the cost, and one block needs only one.
// Its sums (of label weights, of the loss) are in double, which costs nothing here: each is a value per row. Both
// directions work the divisor out for themselves from the labels.
//
// What the host refuses shows as NaN: a label out of range or a bad class weight makes the divisor NaN, and with
// it the loss and all of its gradients.
//
// Traffic: Cost's bytes; what a row is read again for comes from the first-level cache.
// Launch: 1 block, rows / 8 blocks, of 256 threads. All sums in a fixed order.
#include "kernels/loss/loss_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// Sums of the class weights.
struct WeightSums {
  double labels;   // of the labels' classes; NaN where the host would refuse labels or weights
  double classes;  // of all classes
};

template <class A>
__device__ __forceinline__ double class_weight(const A* weights, std::int64_t k) {
  return weights == nullptr ? 1 : double(weights[k]);
}

template <class A>
__device__ __forceinline__ double checked_weight(const A* weights, std::int64_t k) {
  const double weight = class_weight(weights, k);
  return weight >= 0 && weight < INFINITY ? weight : NAN;
}

/// All threads of the block call it.
template <class A>
__device__ __forceinline__ WeightSums sum_weights(const CrossEntropyProblem& p, const std::int64_t* labels,
                                                  const A* weights) {
  WeightSums mine{0, 0};
  for (std::int64_t n = threadIdx.x; n < p.n; n += loss_threads)
    mine.labels += labels[n] >= 0 && labels[n] < p.k ? class_weight(weights, labels[n]) : NAN;
  for (std::int64_t k = threadIdx.x; k < p.k; k += loss_threads) mine.classes += checked_weight(weights, k);
  const double of_labels = block_sum<loss_threads>(mine.labels);
  const double of_classes = block_sum<loss_threads>(mine.classes);
  return {of_labels > 0 && of_classes >= 0 ? of_labels : NAN, of_classes};
}

template <class T, class A>
struct CrossEntropyForward {
  const T* logits;
  const std::int64_t* labels;
  const A* class_weights;
  A *loss, *probabilities;
  explicit CrossEntropyForward(Ports p)
      : logits(p[0].as<const T>()),
        labels(p[1].as<const std::int64_t>()),
        class_weights(p[2].as<const A>()),
        loss(p[3].as<A>()),
        probabilities(p[4].as<A>()) {}
};

/// Writes the probabilities of a row; returns its share of the loss, before the division, in every lane.
template <class T, class A>
__device__ __forceinline__ double row_loss(const CrossEntropyProblem& p, const CrossEntropyForward<T, A>& t,
                                           std::int64_t row) {
  const T* logits = t.logits + row * p.k;
  const RowSum<A> of_row = sum_row<T, A>(logits, p.k);
  const A log_sum = std::log(of_row.sum);
  const auto minus_log_p = [&](std::int64_t k) { return log_sum - (A(logits[k]) - of_row.largest); };
  double smoothed = 0;
  for (std::int64_t k = simt::lane(); k < p.k; k += 32) {
    const A value = minus_log_p(k);
    t.probabilities[row * p.k + k] = std::exp(-value);
    smoothed += class_weight(t.class_weights, k) * double(value);
  }
  smoothed = simt::warp_sum(smoothed);
  const std::int64_t label = t.labels[row];
  if (label < 0 || label >= p.k) return NAN;
  const double hard = class_weight(t.class_weights, label) * double(minus_log_p(label));
  return (1 - p.label_smoothing) * hard + p.label_smoothing / static_cast<double>(p.k) * smoothed;
}

template <class T, class A>
__global__ void __launch_bounds__(loss_threads)
    cross_entropy_forward(CrossEntropyProblem p, CrossEntropyForward<T, A> t) {
  const WeightSums weights = sum_weights(p, t.labels, t.class_weights);
  double loss = 0;
  for_each_row(p.n, [&](std::int64_t row) { loss += row_loss(p, t, row); });
  loss = block_sum<loss_threads>(simt::lane() == 0 ? loss : 0);
  if (threadIdx.x == 0) *t.loss = A(loss / weights.labels);
}

template <class T, class A>
struct CrossEntropyBackward {
  const A* probabilities;
  const std::int64_t* labels;
  const A *class_weights, *dloss;
  T* dlogits;
  explicit CrossEntropyBackward(Ports p)
      : probabilities(p[0].as<const A>()),
        labels(p[1].as<const std::int64_t>()),
        class_weights(p[2].as<const A>()),
        dloss(p[3].as<const A>()),
        dlogits(p[4].as<T>()) {}
};

template <class T, class A>
__global__ void __launch_bounds__(loss_threads)
    cross_entropy_backward(CrossEntropyProblem p, CrossEntropyBackward<T, A> t) {
  const WeightSums weights = sum_weights(p, t.labels, t.class_weights);
  const double scale = double(*t.dloss) / weights.labels;
  const double even = p.label_smoothing / static_cast<double>(p.k);
  for_each_row(p.n, [&](std::int64_t row) {
    const std::int64_t label = t.labels[row];
    const bool valid = label >= 0 && label < p.k;
    const double hard = valid ? (1 - p.label_smoothing) * class_weight(t.class_weights, label) : 0;
    for (std::int64_t k = simt::lane(); k < p.k; k += 32) {
      const double probability = double(t.probabilities[row * p.k + k]);
      const double target = (k == label ? hard : 0) + even * class_weight(t.class_weights, k);
      t.dlogits[row * p.k + k] = T(A(scale * (probability * (hard + even * weights.classes) - target)));
    }
  });
}

}  // namespace

bool supports_softmax_cross_entropy_warp_rows(const CrossEntropyProblem&) { return runs_here(); }

void softmax_cross_entropy_forward_warp_rows(const CrossEntropyProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    simt::launch("softmax_cross_entropy.forward warp_rows", &cross_entropy_forward<T, A>,
                 {.grid = 1, .block = loss_threads, .stream = stream_of(stream)}, p,
                 CrossEntropyForward<T, A>(ports));
  });
}

void softmax_cross_entropy_backward_warp_rows(const CrossEntropyProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    simt::launch("softmax_cross_entropy.backward warp_rows", &cross_entropy_backward<T, A>,
                 row_launch(p.n, stream), p, CrossEntropyBackward<T, A>(ports));
  });
}

}  // namespace fovea::SIMT_WORLD
