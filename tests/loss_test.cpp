// What a device kernel makes of labels and class weights that the host refuses: NaN, in the loss and in every gradient.
#include "kernels/loss/loss.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "autograd/tensor.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

struct Inputs {
  std::vector<std::int64_t> labels{1, 0, 2};
  std::vector<double> weights{0.5, 1, 2, 1};
};

/// The loss, then the gradients.
std::vector<double> run(const Inputs& inputs, const char* kernel, double smoothing) {
  SelectionScope scope;
  selection().force(softmax_cross_entropy_forward, kernel);
  selection().force(softmax_cross_entropy_backward, kernel);
  const CrossEntropyProblem p{.n = 3, .k = 4, .label_smoothing = smoothing};
  std::vector<double> values;
  for (int i = 0; i < 12; ++i) values.push_back(0.3 * (i * 5 % 7));
  const Tensor logits = Tensor::from<double>(values, {3, 4}, Dtype::f32),
               labels = Tensor::from<std::int64_t>(inputs.labels, {3}, Dtype::i64),
               weights = Tensor::from<double>(inputs.weights, {4}, Dtype::f32),
               loss = Tensor::full({}, 7, Dtype::f32), probabilities = Tensor::zeros({3, 4}, Dtype::f32),
               one = Tensor::full({}, 1, Dtype::f32), dlogits = Tensor::zeros({3, 4}, Dtype::f32);
  dispatch(softmax_cross_entropy_forward, p,
           {logits.view(), labels.view(), weights.view(), loss.view(), probabilities.view()});
  dispatch(softmax_cross_entropy_backward, p,
           {probabilities.view(), labels.view(), weights.view(), one.view(), dlogits.view()});
  std::vector<double> results = dlogits.to_doubles();
  results.insert(results.begin(), loss.item());
  return results;
}

TEST(CrossEntropy, ShowsWhatTheHostRefuses) {
  std::vector<Inputs> refused(6);
  refused[0].labels[1] = 4;
  refused[1].labels[2] = -1;
  refused[2].weights[3] = -1;
  refused[3].weights[1] = NAN;
  refused[4].weights[3] = INFINITY;
  refused[5].labels = {3, 3, 3}, refused[5].weights[3] = 0;
  for (const double smoothing : {0.0, 0.1}) {
    for (std::size_t i = 0; i < refused.size(); ++i) {
      EXPECT_THROW(run(refused[i], "reference", smoothing), Error) << i;
      for (const double v : run(refused[i], "warp_rows", smoothing))
        EXPECT_TRUE(std::isnan(v)) << i << ": " << v;
    }
    const std::vector<double> expected = run({}, "reference", smoothing),
                              got = run({}, "warp_rows", smoothing);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6);
  }
}

}  // namespace
}  // namespace fovea
