// The list form of the updates and of the sum, with every kernel that runs on the CPU: many tensors in one call, of
// sizes around a chunk, with shadows and without, some of whose arrays no wide access may touch; against the flat
// form, one call each. And what clip_scale makes of a norm that is not finite.
#include "kernels/optim/optim.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cases/case.hpp"
#include "kernels/primitives.hpp"

namespace fovea {
namespace {

std::int64_t address(const View& view) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(view.data));
}

// The arrays of one tensor, one of which may begin one element into its memory.
struct Arrays {
  Arrays(std::int64_t count, std::int64_t i, Dtype dtype)
      : count(count), step(i + 1), shifted(static_cast<std::size_t>(i % 6)) {
    const auto fill = [&](std::uint64_t seed) {
      return cases::random_tensor({count + 2}, 10 * static_cast<std::uint64_t>(i) + seed, dtype);
    };
    param = fill(1), grad = fill(2), first = fill(3);
    second = Tensor::full({count + 2}, 0.5, dtype);
    if (i % 4 != 1) shadow = Tensor::full({count + 2}, 7, Dtype::bf16);
  }
  Arrays copy() const {
    Arrays other = *this;
    for (Tensor* t : {&other.param, &other.grad, &other.first, &other.second, &other.shadow})
      if (*t) *t = t->clone();
    return other;
  }
  std::int64_t shift_of(const Tensor& tensor) const {
    const Tensor* all[] = {&param, &grad, &first, &second, &shadow, nullptr};
    return all[shifted] == &tensor ? 1 : 0;
  }
  View view(const Tensor& tensor) const {
    if (!tensor) return {};
    View view = tensor.view();
    view.data = static_cast<char*>(view.data) + shift_of(tensor) * size_of(view.dtype);
    view.shape = {count};
    return view;
  }
  TensorRow row() const {
    return {
        address(view(param)), address(view(grad)), address(view(first)), address(view(second)), count, step,
        address(view(shadow))};
  }
  // All of them, with the elements before and behind.
  std::vector<double> values() const {
    std::vector<double> all;
    for (const Tensor* t : {&param, &first, &second, &shadow})
      if (*t)
        for (const double v : t->to_doubles()) all.push_back(v);
    return all;
  }

  std::int64_t count, step;
  std::size_t shifted;  // which of them, in this order
  Tensor param, grad, first, second, shadow;
};

struct List {
  explicit List(Dtype dtype) : dtype(dtype) {
    for (const std::int64_t size : {5, 4096, 1, 0, 4097, 8191, 4, 3, 9001, 12288, 2, 4095}) add(size);
    for (std::int64_t i = 0; i < 300; ++i) add(1 + i % 7);  // more tensors than a block has threads
  }
  void add(std::int64_t size) {
    arrays.emplace_back(size, static_cast<std::int64_t>(arrays.size()), dtype);
    count += size;
  }
  Tensor table() const {
    std::vector<std::int64_t> values;
    for (const Arrays& a : arrays) {
      const TensorRow r = a.row();
      values.insert(values.end(), {r.param, r.grad, r.first, r.second, r.count, r.step, r.shadow});
    }
    return Tensor::from<std::int64_t>(values, {tensors(), TensorRow::columns}, Dtype::i64);
  }
  std::int64_t tensors() const { return static_cast<std::int64_t>(arrays.size()); }
  List copy() const {
    List other = *this;
    for (Arrays& a : other.arrays) a = a.copy();
    return other;
  }

  Dtype dtype;
  std::vector<Arrays> arrays;
  std::int64_t count = 0;
};

std::vector<std::string> kernels_of(const Primitive& primitive) {
  std::vector<std::string> names;
  for (const Kernel& k : primitive.kernels)
    if (device_of(k.backend) == Device::cpu) names.emplace_back(k.name);
  return names;
}

void expect_equal_lists(const List& got, const List& expected) {
  for (std::size_t i = 0; i < got.arrays.size(); ++i)
    EXPECT_EQ(got.arrays[i].values(), expected.arrays[i].values())
        << "tensor " << i << " of " << got.arrays[i].count << " elements";
}

TEST(Optim, AdamOfAListEqualsAdamOfEach) {
  const Tensor scale = Tensor::full({}, 0.5, Dtype::f64);
  for (const std::string& kernel : kernels_of(adam)) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      SCOPED_TRACE(kernel + ", " + std::string(name_of(dtype)));
      SelectionScope scope;
      selection().force(adam, kernel);
      const List flat(dtype), list = flat.copy();
      AdamProblem p{.dtype = dtype, .decoupled = 1, .learning_rate = 0.01, .weight_decay = 0.1};
      for (const Arrays& a : flat.arrays) {
        if (a.count == 0) continue;
        p.count = a.count, p.step = a.step;
        dispatch(adam, p,
                 {a.view(a.param), a.view(a.grad), a.view(a.first), a.view(a.second), scale.view(),
                  a.view(a.shadow)});
      }
      p.count = list.count, p.tensors = list.tensors();
      dispatch(adam, p, {list.table().view(), scale.view()});
      expect_equal_lists(list, flat);
    }
  }
}

TEST(Optim, SgdOfAListEqualsSgdOfEach) {
  for (const std::string& kernel : kernels_of(sgd)) {
    for (const double momentum : {0.0, 0.9}) {
      SCOPED_TRACE(kernel + ", momentum " + std::to_string(momentum));
      SelectionScope scope;
      selection().force(sgd, kernel);
      List flat(Dtype::f32);
      for (Arrays& a : flat.arrays) a.second = {};  // sgd has none
      const List list = flat.copy();
      SgdProblem p{.learning_rate = 0.01, .momentum = momentum, .weight_decay = 0.1, .grad_scale = 2};
      for (const Arrays& a : flat.arrays) {
        if (a.count == 0) continue;
        p.count = a.count;
        dispatch(sgd, p, {a.view(a.param), a.view(a.grad), a.view(a.first), {}, a.view(a.shadow)});
      }
      p.count = list.count, p.tensors = list.tensors();
      dispatch(sgd, p, {list.table().view(), {}});
      expect_equal_lists(list, flat);
    }
  }
}

TEST(Optim, SumOfSquaresOfAList) {
  for (const std::string& kernel : kernels_of(sum_of_squares)) {
    for (const Dtype dtype : {Dtype::f32, Dtype::f64}) {
      SCOPED_TRACE(kernel + ", " + std::string(name_of(dtype)));
      SelectionScope scope;
      selection().force(sum_of_squares, kernel);
      const List list(dtype);
      double expected = 0;
      for (const Arrays& a : list.arrays) {
        const std::vector<double> all = a.grad.to_doubles();
        for (std::int64_t i = 0; i < a.count; ++i) {
          const double v = all[static_cast<std::size_t>(i + a.shift_of(a.grad))];
          expected += v * v;
        }
      }
      const Tensor result = Tensor::full({}, std::nan(""), Dtype::f64);
      dispatch(sum_of_squares, {.dtype = dtype, .count = list.count, .tensors = list.tensors()},
               {list.table().view(), result.view()});
      EXPECT_NEAR(result.item(), expected, 1e-13 * expected);
    }
  }
}

TEST(Optim, SumOfNothingIsZero) {
  for (const std::string& kernel : kernels_of(sum_of_squares)) {
    SelectionScope scope;
    selection().force(sum_of_squares, kernel);
    const std::vector<std::int64_t> values(2 * TensorRow::columns, 0);
    const Tensor table = Tensor::from<std::int64_t>(values, {2, TensorRow::columns}, Dtype::i64);
    const Tensor result = Tensor::full({}, std::nan(""), Dtype::f64);
    dispatch(sum_of_squares, {.count = 0, .tensors = 2}, {table.view(), result.view()});
    EXPECT_EQ(result.item(), 0) << kernel;
  }
}

TEST(Optim, ANormThatIsNotFiniteHasNoScale) {
  for (const std::string& kernel : kernels_of(clip_scale)) {
    SelectionScope scope;
    selection().force(clip_scale, kernel);
    for (const double clip_norm : {0.0, 1.0}) {
      for (const double sum : {std::nan(""), std::numeric_limits<double>::infinity()}) {
        const Tensor from = Tensor::full({}, sum, Dtype::f64), scale = Tensor::full({}, 1, Dtype::f64);
        dispatch(clip_scale, {.clip_norm = clip_norm}, {from.view(), scale.view()});
        EXPECT_TRUE(std::isnan(scale.item())) << kernel << ", " << sum << ", clipped at " << clip_norm;
      }
    }
  }
}

}  // namespace
}  // namespace fovea
