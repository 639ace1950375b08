// fp64 gradient checks of every function with every kernel that runs here, and checks of the checker itself.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "autograd/engine.hpp"
#include "autograd/functions.hpp"
#include "autograd/gradcheck.hpp"
#include "cases/gradcheck_cells.hpp"

namespace fovea {
namespace {

class Gradcheck : public ::testing::TestWithParam<std::string> {};

TEST_P(Gradcheck, EveryCaseAndKernel) {
  int passed = 0;
  for (const cases::GradCell& cell : cases::gradcheck_cells(GetParam())) {
    const cases::CellOutcome outcome = cases::run_cell(cell);
    EXPECT_NE(outcome.status, cases::CellStatus::failed)
        << cell.grad_case->op << ", " << cell.grad_case->label << ", " << cell.kernel << ": "
        << outcome.explanation;
    passed += outcome.status == cases::CellStatus::passed;
  }
  EXPECT_GT(passed, 0) << "no case of " << GetParam() << " was checked";
}

std::vector<std::string> ops() {
  std::set<std::string> names;
  for (const cases::GradCase& c : cases::grad_cases()) names.insert(c.op);
  return {names.begin(), names.end()};
}

INSTANTIATE_TEST_SUITE_P(Ops, Gradcheck, ::testing::ValuesIn(ops()), [](const auto& info) {
  std::string name = info.param;
  for (char& ch : name) {
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  }
  return name;
});

// An op is differentiable if one of its primitives goes backward; each must have a gradient case.
TEST(GradcheckCoverage, EveryDifferentiableOpHasACase) {
  std::set<std::string> covered;
  for (const std::string& op : ops()) covered.insert(op);
  for (const Primitive* p : all_primitives()) {
    if (std::string_view(p->name).find(".backward") == std::string_view::npos) continue;
    EXPECT_TRUE(covered.contains(std::string(p->op()))) << p->name << " has no gradient case";
  }
}

Tensor square_with_wrong_gradient(const Tensor& x) {
  Tensor y = multiply(x.detach(), x.detach());
  return record("wrong", y, {x}, {x}, [](const Node& node, Tensor dy) -> Gradients {
    return {multiply(dy, node.saved_at(0))};  // lacks the factor 2
  });
}

TEST(GradcheckItself, FindsAWrongGradient) {
  const auto result = gradcheck([](const auto& in) { return square_with_wrong_gradient(in[0]); },
                                {cases::random_tensor({3}, 1)});
  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.explanation.find("backward says"), std::string::npos);
}

TEST(GradcheckItself, FailsOnNan) {
  const auto result =
      gradcheck([](const auto& in) { return multiply(in[0], Tensor::full({1}, std::nan(""), Dtype::f64)); },
                {cases::random_tensor({2}, 1)});
  EXPECT_FALSE(result.passed);
}

TEST(GradcheckItself, RefusesSinglePrecision) {
  EXPECT_THROW(
      gradcheck([](const auto& in) { return relu(in[0]); }, {cases::random_tensor({2}, 1, Dtype::f32)}),
      Error);
}

}  // namespace
}  // namespace fovea
