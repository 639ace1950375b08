// ConvNeXt-Tiny: its start, its captured maps, and stochastic depth. (That its values are right is zoo_parity_test.py's
// part.)
#include "models/convnext.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "cases/case.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

Model& model() {
  static const std::unique_ptr<Model> made = make_model({.name = "convnext_tiny", .seed = 1});
  return *made;
}

ModelInput images(std::int64_t n) { return {{cases::random_tensor({n, 32, 32, 3}, 7, Dtype::f32)}, {}}; }

TEST(ConvNeXt, StartsAsTorchvisionsDoes) {
  std::int64_t count = 0;
  for (const NamedTensor& t : model().parameters()) {
    count += t.tensor.numel();
    double sum = 0, squares = 0;
    const std::vector<double> values = t.tensor.to_doubles();
    for (const double v : values) {
      sum += v;
      squares += v * v;
    }
    const auto n = static_cast<double>(values.size());
    if (t.name.ends_with("layer_scale")) {
      EXPECT_EQ(values.front(), double(1e-6f)) << t.name;
      EXPECT_EQ(values.back(), double(1e-6f)) << t.name;
    } else if (t.name.ends_with("bias")) {
      EXPECT_EQ(squares, 0) << t.name;
    } else if (t.tensor.shape().rank() == 1) {
      EXPECT_EQ(sum, n) << t.name;
    } else {
      EXPECT_NEAR(std::sqrt(squares / n), 0.02, 0.02 * 5 / std::sqrt(2 * n)) << t.name;
      EXPECT_NEAR(sum / n, 0, 0.02 * 5 / std::sqrt(n)) << t.name;
    }
  }
  EXPECT_EQ(count, 27822435);  // torchvision's, of three classes
}

TEST(ConvNeXt, CapturesItsStages) {
  model().set_training(false);
  std::vector<std::pair<std::string, Tensor>> maps;
  ForwardContext context;
  context.capture = &maps;
  const NoGrad no_grad;
  model().forward({{cases::random_tensor({1, 67, 64, 3}, 7, Dtype::f32)}, {}}, context);
  std::map<std::string, std::string> shapes;
  for (const auto& [name, tensor] : maps) shapes[name] = to_string(tensor.shape());
  EXPECT_EQ(shapes, (std::map<std::string, std::string>{{"stage1", "1x16x16x96"},
                                                        {"stage2", "1x8x8x192"},
                                                        {"stage3", "1x4x4x384"},
                                                        {"stage4", "1x2x2x768"}}));
}

TEST(ConvNeXt, RefusesImagesThatAStageHasNothingOf) {
  EXPECT_NO_THROW(model().check_input_size(32, 45));
  EXPECT_THROW(model().check_input_size(31, 224), UsageError);
}

// Layer scale of 1e-6 would hide what is dropped.
std::vector<double> logits(bool training, const ForwardContext& context) {
  for (NamedTensor& t : model().parameters()) {
    if (t.name.ends_with("layer_scale")) t.tensor.fill(0.5);
  }
  model().set_training(training);
  const NoGrad no_grad;
  return model().forward(images(6), context).to_doubles();
}

TEST(ConvNeXt, DropsBranchesInTrainingWhereAskedTo) {
  const std::vector<double> plain = logits(false, {});
  EXPECT_EQ(logits(false, {.stochastic = true, .seed = 3, .step = 1}), plain);
  EXPECT_EQ(logits(true, {.stochastic = false, .seed = 3, .step = 1}), plain);
  const std::vector<double> drawn = logits(true, {.stochastic = true, .seed = 3, .step = 1});
  EXPECT_NE(drawn, plain);
  EXPECT_EQ(logits(true, {.stochastic = true, .seed = 3, .step = 1}), drawn);
  EXPECT_NE(logits(true, {.stochastic = true, .seed = 3, .step = 2}), drawn);
  EXPECT_NE(logits(true, {.stochastic = true, .seed = 4, .step = 1}), drawn);
}

}  // namespace
}  // namespace fovea
