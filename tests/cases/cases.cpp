// The one list of the cases of all ops.
#include "cases/case.hpp"

#include <random>

#include "cases/conv2d.hpp"

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
    return cases;
  }();
  return all;
}

const std::vector<GradCase>& grad_cases() {
  static const std::vector<GradCase> all = [] {
    std::vector<GradCase> cases;
    conv2d_grad_cases(cases);
    return cases;
  }();
  return all;
}

}  // namespace fovea::cases
