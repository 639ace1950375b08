// What the generic kernel and gradient checks do not see of layer_norm: the promised aliasing, rows without spread, and
// the independence of rows from each other.
#include "kernels/layer_norm/layer_norm.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/functions.hpp"
#include "cases/case.hpp"

namespace fovea {
namespace {

using cases::random_tensor;

const char* const kernels[] = {"cpu", "reference", "warp_rows"};

// Outputs in place of inputs, as layer_norm.hpp promises, for every kernel: of rows that registers hold, and longer ones.
TEST(LayerNorm, InPlaceEqualsOutOfPlace) {
  for (const char* kernel : kernels) {
    for (const std::int64_t channels : {96, 1032}) {
      SCOPED_TRACE(std::string(kernel) + ", " + std::to_string(channels));
      SelectionScope scope;
      selection().force(std::string("layer_norm=") + kernel);
      const LayerNormProblem p{.rows = 9, .channels = channels};
      const Tensor x = random_tensor(p.x_shape(), 1, Dtype::f32),
                   dy = random_tensor(p.x_shape(), 2, Dtype::f32);
      const Tensor gamma = random_tensor({channels}, 3, Dtype::f32), y = x.clone(), in_place = x.clone();
      const Tensor mean = random_tensor({9}, 4, Dtype::f32), rstd = mean.clone();
      dispatch(layer_norm_forward, p,
               {x.view(), gamma.view(), gamma.view(), y.view(), mean.view(), rstd.view()});
      dispatch(layer_norm_forward, p, {in_place.view(), gamma.view(), gamma.view(), in_place.view(), {}, {}});
      EXPECT_EQ(in_place.to_doubles(), y.to_doubles());

      const Tensor dx = dy.clone(), over = dy.clone(), dgamma = gamma.clone(), dbeta = gamma.clone();
      dispatch(layer_norm_backward, p,
               {x.view(), dy.view(), gamma.view(), mean.view(), rstd.view(), dx.view(), dgamma.view(),
                dbeta.view()});
      const std::vector<double> sums = dgamma.to_doubles();
      dispatch(layer_norm_backward, p,
               {x.view(), over.view(), gamma.view(), mean.view(), rstd.view(), over.view(), dgamma.view(),
                dbeta.view()});
      EXPECT_EQ(over.to_doubles(), dx.to_doubles());
      EXPECT_EQ(dgamma.to_doubles(), sums);
    }
  }
}

TEST(LayerNorm, OfARowWithoutSpreadIsBeta) {
  for (const char* kernel : kernels) {
    SelectionScope scope;
    selection().force(std::string("layer_norm=") + kernel);
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      const Tensor beta = random_tensor({64}, 1, dtype), gamma = random_tensor({64}, 2, dtype);
      EXPECT_EQ(layer_norm(Tensor::full({1, 64}, 3, dtype), gamma, beta).to_doubles(), beta.to_doubles())
          << kernel;
      EXPECT_EQ(layer_norm(random_tensor({5, 1}, 1, dtype), Tensor::full({1}, 2, dtype),
                           Tensor::full({1}, 7, dtype))
                    .to_doubles(),
                std::vector<double>(5, 7.0))
          << kernel;
    }
  }
}

TEST(LayerNorm, ANanStaysInItsRow) {
  for (const char* kernel : kernels) {
    SelectionScope scope;
    selection().force(std::string("layer_norm=") + kernel);
    const Tensor x = random_tensor({3, 40}, 1, Dtype::f32), ones = Tensor::full({40}, 1, Dtype::f32);
    x.data<float>()[40 + 17] = std::nanf("");
    const std::vector<double> y = layer_norm(x, ones, ones).to_doubles();
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 40 == 1) << kernel << " " << i;
  }
}

}  // namespace
}  // namespace fovea
