// The one list of the cases of all ops.
#include "cases/case.hpp"

#include <random>

#include "cases/augment.hpp"
#include "cases/cast.hpp"
#include "cases/concat.hpp"
#include "cases/conv2d.hpp"
#include "cases/ham.hpp"
#include "cases/head.hpp"
#include "cases/layer_norm.hpp"
#include "cases/linear.hpp"
#include "cases/loss.hpp"
#include "cases/mlrm.hpp"
#include "cases/norm.hpp"
#include "cases/optim.hpp"
#include "cases/pointwise.hpp"
#include "cases/pool.hpp"
#include "cases/rows.hpp"
#include "cases/scale_residual.hpp"

namespace fovea::cases {

Tensor random_tensor(const Shape& shape, std::uint64_t seed, Dtype dtype, double scale, double shift) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (double& v : values) v = shift + scale * normal(generator);
  return Tensor::from<double>(values, shape, dtype);
}

const std::vector<PrimitiveCase>& primitive_cases() {
  static const std::vector<PrimitiveCase> all = [] {
    std::vector<PrimitiveCase> cases;
    conv2d_cases(cases);
    norm_cases(cases);
    layer_norm_cases(cases);
    pool_cases(cases);
    mlrm_cases(cases);
    head_cases(cases);
    ham_cases(cases);
    pointwise_cases(cases);
    scale_residual_cases(cases);
    cast_cases(cases);
    concat_cases(cases);
    rows_cases(cases);
    linear_cases(cases);
    loss_cases(cases);
    softmax_cases(cases);
    optim_cases(cases);
    augment_cases(cases);
    return cases;
  }();
  return all;
}

const std::vector<GradCase>& grad_cases() {
  static const std::vector<GradCase> all = [] {
    std::vector<GradCase> cases;
    conv2d_grad_cases(cases);
    norm_grad_cases(cases);
    layer_norm_grad_cases(cases);
    pool_grad_cases(cases);
    mlrm_grad_cases(cases);
    head_grad_cases(cases);
    ham_grad_cases(cases);
    pointwise_grad_cases(cases);
    scale_residual_grad_cases(cases);
    concat_grad_cases(cases);
    rows_grad_cases(cases);
    linear_grad_cases(cases);
    loss_grad_cases(cases);
    return cases;
  }();
  return all;
}

}  // namespace fovea::cases
