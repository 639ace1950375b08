// cast: each kernel gives the bits that Tensor::to does on the host, also of NaN, infinities, ties and what is too
// large or too small for the narrower type; and Tensor::to on a device gives them, too.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "cases/case.hpp"
#include "kernels/cast/cast.hpp"

namespace fovea {
namespace {

constexpr Dtype floating[] = {Dtype::f32, Dtype::f64, Dtype::bf16};

Tensor awkward(Dtype dtype) {
  std::vector<double> values = cases::random_tensor({37}, 1).to_doubles();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double v :
       {0.0, -0.0, infinity, -infinity, std::nan(""), 1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1p-8 + 0x1p-20,
        1 + 0x1p-24, 1 + 0x3p-24, 3.4e38, 1e300, -1e300, 1e-40, 1e-300}) {
    values.push_back(v);
  }
  return Tensor::from<double>(values, {static_cast<std::int64_t>(values.size())}, dtype);
}

std::vector<unsigned char> bytes_of(const Tensor& tensor) {
  const View view = tensor.view();
  const auto* first = static_cast<const unsigned char*>(view.data);
  return {first, first + view.bytes()};
}

TEST(Cast, EqualsTensorToBitByBit) {
  for (const Kernel& kernel : cast_forward.kernels) {
    if (device_of(kernel.backend) != Device::cpu) continue;
    for (const Dtype from : floating) {
      for (const Dtype to : floating) {
        const Tensor x = awkward(from), y = Tensor::empty(x.shape(), to);
        const CastProblem p{.dtype = to, .from = from, .count = x.numel()};
        const std::vector<View> ports{x.view(), y.view()};
        kernel.run(&p, ports, {});
        EXPECT_EQ(bytes_of(y), bytes_of(x.to(to)))
            << kernel.name << ": " << name_of(from) << " to " << name_of(to);
      }
    }
  }
}

TEST(Cast, RoundsTiesToEven) {
  const Tensor x = Tensor::from<double>(std::vector<double>{1 + 0x1p-8, 1 + 0x3p-8}, {2}, Dtype::f32);
  const Tensor y = Tensor::empty({2}, Dtype::bf16);
  dispatch(cast_forward, {.dtype = Dtype::bf16, .from = Dtype::f32, .count = 2}, {x.view(), y.view()});
  EXPECT_EQ(y.to_doubles(), (std::vector<double>{1, 1 + 0x1p-6}));
}

TEST(Cast, TensorToWorksOnADevice) {
  if (!cuda_available()) GTEST_SKIP() << "no device";
  for (const Dtype from : floating) {
    for (const Dtype to : floating) {
      const Tensor x = awkward(from);
      EXPECT_EQ(bytes_of(x.to(Device::cuda).to(to).to(Device::cpu)), bytes_of(x.to(to)))
          << name_of(from) << " to " << name_of(to);
    }
  }
}

TEST(Cast, RefusesIntegers) {
  const Tensor x = Tensor::zeros({2}, Dtype::i64), y = Tensor::zeros({2}, Dtype::f32);
  EXPECT_THROW(
      dispatch(cast_forward, {.dtype = Dtype::f32, .from = Dtype::i64, .count = 2}, {x.view(), y.view()}),
      Error);
}

}  // namespace
}  // namespace fovea
