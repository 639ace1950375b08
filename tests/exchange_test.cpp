// exchange: every primitive that has an ONNX form is written in each of its forms; whether they compute the same in
// onnxruntime is export_test.py's to say, for which FOVEA_EXPORT_CASES names a folder where the files stay. And everything
// that cannot be written is an error.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "autograd/engine.hpp"
#include "exchange/onnx.hpp"
#include "exchange/onnx_graph.hpp"
#include "kernels/runtime/error.hpp"
#include "nn/layers.hpp"
#include "nn/safetensors.hpp"

namespace fovea {
namespace {

using Inputs = std::vector<Tensor>;

/// Values without a pattern that a mistake in an order would leave as it is.
Tensor values(const Shape& shape, double seed) {
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    numbers.push_back(std::sin(12.9898 * static_cast<double>(i + 1) + 78.233 * seed));
  }
  return Tensor::from<double>(std::span<const double>(numbers), shape, Dtype::f32);
}

/// A function of inputs with parameters of its own.
struct Case {
  const char* name;
  std::vector<Shape> inputs;  // without the batch
  std::vector<Shape> parameters;
  std::function<Tensor(const Inputs&, const Inputs& parameters)> run;
};

Tensor over_rows(const Tensor& x, const Inputs& p) {  // as a layer over the pixels of an image does
  const Shape& s = x.shape();
  const Tensor y = linear(reshape(x, {s[0] * s[1] * s[2], s[3]}), p[0], p[1], Activation::relu);
  return reshape(y, {s[0], s[1], s[2], p[0].shape()[0]});
}

Tensor flat(const Tensor& x) { return reshape(x, {x.shape()[0], x.numel() / x.shape()[0]}); }

BatchNormOptions inference(Activation activation) { return {.training = false, .activation = activation}; }

const std::vector<Case> cases{
    {"conv_groups",
     {{9, 7, 4}},
     {{6, 5, 3, 2}, {6}},
     [](const Inputs& x, const Inputs& p) {
       return conv2d(x[0], p[0], p[1],
                     {.stride_h = 2,
                      .pad_h = 2,
                      .pad_w = 1,
                      .dilation_w = 2,
                      .groups = 2,
                      .activation = Activation::relu});
     }},
    {"conv_depthwise",
     {{6, 5, 3}},
     {{3, 7, 7, 1}},
     [](const Inputs& x, const Inputs& p) {
       return conv2d(x[0], p[0], {}, {.pad_h = 3, .pad_w = 3, .groups = 3});
     }},
    {"conv_one_row",
     {{6, 8, 2}},
     {{3, 1, 7, 2}},
     [](const Inputs& x, const Inputs& p) { return conv2d(x[0], p[0], {}, {.pad_w = 3}); }},
    {"max_pool",
     {{7, 6, 3}},
     {},
     [](const Inputs& x, const Inputs&) {
       return max_pool(x[0], {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
     }},
    {"max_pool_odd", {{7, 5, 2}}, {}, [](const Inputs& x, const Inputs&) { return max_pool(x[0], {}); }},
    {"avg_pool",
     {{7, 6, 3}},
     {},
     [](const Inputs& x, const Inputs&) {
       return avg_pool(x[0], {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
     }},
    {"avg_pool_inside",
     {{7, 6, 3}},
     {},
     [](const Inputs& x, const Inputs&) {
       return avg_pool(
           x[0],
           {.kernel_h = 3, .kernel_w = 2, .stride_h = 1, .pad_h = 1, .pad_w = 1, .count_include_pad = false});
     }},
    {"adaptive_even",
     {{8, 6, 2}},
     {},
     [](const Inputs& x, const Inputs&) { return adaptive_avg_pool(x[0], 4, 3); }},
    {"adaptive_overlap",
     {{7, 5, 2}},
     {},
     [](const Inputs& x, const Inputs&) { return adaptive_avg_pool(x[0], 3, 2); }},
    {"adaptive_larger",
     {{2, 3, 4}},
     {},
     [](const Inputs& x, const Inputs&) { return adaptive_avg_pool(x[0], 7, 7); }},
    {"global_pool_linear",
     {{4, 3, 5}},
     {{4, 5}, {4}},
     [](const Inputs& x, const Inputs& p) { return linear(global_avg_pool(x[0]), p[0], p[1]); }},
    {"linear_rows",
     {{3, 4, 5}},
     {{6, 5}, {6}},
     [](const Inputs& x, const Inputs& p) { return over_rows(x[0], p); }},
    {"linear_flat",
     {{3, 4, 5}},
     {{6, 60}},
     [](const Inputs& x, const Inputs& p) { return linear(sigmoid(flat(x[0])), p[0], {}); }},
    {"linear_twice",
     {{6}},
     {{6, 6}, {6}},
     [](const Inputs& x, const Inputs& p) { return linear(linear(x[0], p[0], p[1]), p[0], p[1]); }},
    {"norm_image",
     {{3, 4, 5}},
     {{5}, {5}, {5}, {5}},
     [](const Inputs& x, const Inputs& p) {
       return batch_norm(x[0], p[0], p[1], p[2], p[3], inference(Activation::none));
     }},
    {"norm_matrix",
     {{5}},
     {{5}, {5}, {5}, {5}},
     [](const Inputs& x, const Inputs& p) {
       return batch_norm(x[0], p[0], p[1], p[2], p[3], inference(Activation::relu));
     }},
    {"layer_norm_image",
     {{3, 4, 5}},
     {{5}, {5}},
     [](const Inputs& x, const Inputs& p) { return layer_norm(x[0], p[0], p[1], 1e-6); }},
    {"layer_norm_matrix",
     {{5}},
     {{5}, {5}},
     [](const Inputs& x, const Inputs& p) { return layer_norm(x[0], p[0], p[1], 1e-2); }},
    {"gelu", {{3, 2, 4}}, {}, [](const Inputs& x, const Inputs&) { return gelu(gelu(x[0])); }},
    {"scale_residual",  // as in ConvNeXt's block, whose layers see the pixels as rows
     {{3, 4, 5}},
     {{5, 5}, {5}, {5, 1, 1}},
     [](const Inputs& x, const Inputs& p) { return scale_residual(x[0], gelu(over_rows(x[0], p)), p[2]); }},
    {"scale_residual_matrix",
     {{5}, {5}},
     {{5}},
     [](const Inputs& x, const Inputs& p) { return scale_residual(x[0], x[1], p[0]); }},
    {"softmax", {{7}}, {}, [](const Inputs& x, const Inputs&) { return softmax(x[0]); }},
    {"softmax_flat", {{2, 3, 4}}, {}, [](const Inputs& x, const Inputs&) { return softmax(flat(x[0])); }},
    {"softmax_pixels",
     {{2, 3, 4}},
     {},
     [](const Inputs& x, const Inputs&) {
       const Shape s = x[0].shape();
       return reshape(softmax(reshape(x[0], {s[0] * 6, 4})), s);
     }},
    {"norm_flat",
     {{1, 2, 3}},
     {{6}, {6}, {6}, {6}},
     [](const Inputs& x, const Inputs& p) {
       return batch_norm(flat(x[0]), p[0], p[1], p[2], p[3], inference(Activation::none));
     }},
    {"concat_flat",
     {{2, 3, 4}, {5}},
     {},
     [](const Inputs& x, const Inputs&) {
       return concat({x[1], flat(x[0])});
     }},
    {"concat_images",
     {{3, 4, 2}, {3, 4, 5}},
     {},
     [](const Inputs& x, const Inputs&) {
       return relu(concat({x[0], x[1], x[0]}));
     }},
    {"concat_matrices",
     {{3}, {4}},
     {},
     [](const Inputs& x, const Inputs&) {
       return concat({x[1], x[0]});
     }},
    {"gate",  // squeeze and excitation: a value of one pixel beside an image
     {{4, 3, 5}},
     {},
     [](const Inputs& x, const Inputs&) {
       const Tensor mean = global_avg_pool(x[0]);
       return multiply(reshape(mean, {mean.shape()[0], 1, 1, 5}), x[0]);
     }},
    {"scaled",  // parameters over channels, over an image without batch, and a constant that nobody registered
     {{4, 3, 5}},
     {{5}, {4, 1, 5}},
     [](const Inputs& x, const Inputs& p) { return add(add(multiply(x[0], p[0]), p[1]), values({5}, 0.5)); }},
    {"shifted_matrix", {{5}}, {{5}}, [](const Inputs& x, const Inputs& p) { return add(x[0], p[0]); }},
    {"matrix_to_image",
     {{30}},
     {{2, 3, 3, 5}},
     [](const Inputs& x, const Inputs& p) {
       const Tensor image = reshape(x[0], {x[0].shape()[0], 2, 3, 5});
       return conv2d(image, p[0], {}, {.pad_h = 1, .pad_w = 1});
     }},
    {"image_to_image",
     {{4, 6, 3}},
     {},
     [](const Inputs& x, const Inputs&) {
       return reshape(relu(x[0]), {x[0].shape()[0], 6, 2, 6});
     }},
    {"image_to_matrix", {{4, 6, 3}}, {}, [](const Inputs& x, const Inputs&) { return flat(relu(x[0])); }},
};

Inputs inputs_of(const Case& c, std::int64_t batch) {
  Inputs inputs;
  for (const Shape& shape : c.inputs) {
    Shape whole{batch};
    for (int i = 0; i < shape.rank(); ++i) whole.push_back(shape[i]);
    inputs.push_back(values(whole, static_cast<double>(10 * batch) + static_cast<double>(inputs.size())));
  }
  return inputs;
}

std::vector<NamedTensor> state_of(const Case& c) {
  std::vector<NamedTensor> state;
  for (const Shape& shape : c.parameters) {
    const auto i = static_cast<double>(state.size());
    Tensor p = values(shape, i + 100);
    if (state.size() == 3) p = multiply(p, p);  // a variance
    state.push_back({.name = fmt::format("part.{}", i), .tensor = p});
  }
  return state;
}

Inputs tensors_of(const std::vector<NamedTensor>& state) {
  Inputs tensors;
  for (const NamedTensor& named : state) tensors.push_back(named.tensor);
  return tensors;
}

OnnxRequest request_of(const Case& c, const Inputs& inputs, const std::vector<NamedTensor>& state) {
  OnnxRequest request{.state = state, .output = "y", .version = "test"};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    request.inputs.emplace_back(fmt::format("x{}", i), inputs[i]);
  }
  request.forward = [&c, &inputs, parameters = tensors_of(state)] { return c.run(inputs, parameters); };
  return request;
}

SafetensorsEntry entry_of(const std::string& name, const Tensor& tensor) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < tensor.shape().rank(); ++i) dims.push_back(tensor.shape()[i]);
  const std::vector<double> numbers = tensor.to_doubles();
  return safetensors_entry(name, dims, std::vector<float>(numbers.begin(), numbers.end()));
}

// Inputs and output of another batch than the one that was heard.
void write_arrays(const Case& c, const std::vector<NamedTensor>& state, const std::string& path) {
  const NoGrad no_grad;
  const Inputs inputs = inputs_of(c, 3);
  std::vector<SafetensorsEntry> entries{entry_of("y", c.run(inputs, tensors_of(state)))};
  for (std::size_t i = 0; i < inputs.size(); ++i)
    entries.push_back(entry_of(fmt::format("x{}", i), inputs[i]));
  write_safetensors(path, entries);
}

class OnnxTest : public testing::Test {
 protected:
  OnnxTest() {
    const char* kept = std::getenv("FOVEA_EXPORT_CASES");
    std::string name = (std::filesystem::temp_directory_path() / "fovea-exchange-XXXXXX").string();
    folder_ = kept != nullptr ? kept : mkdtemp(name.data());
    keep_ = kept != nullptr;
  }
  ~OnnxTest() override {
    if (!keep_) std::filesystem::remove_all(folder_);
  }
  std::string file(const std::string& name) const { return folder_ + "/" + name; }

  /// What is said about a function of one image, N,4,3,5, without parameters of its own.
  std::string refusal(const std::function<Tensor(const Tensor&)>& f, std::vector<NamedTensor> state = {}) {
    const Tensor x = values({2, 4, 3, 5}, 1);
    return message_of([&] {
      write_onnx(file("refused.onnx"),
                 {.inputs = {{"x", x}}, .state = std::move(state), .forward = [&] { return f(x); }});
    });
  }
  static std::string message_of(const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was refused";
  }

 private:
  std::string folder_;
  bool keep_ = false;
};

bool says(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return true;
  ADD_FAILURE() << "'" << part << "' is not in: " << message;
  return false;
}

TEST_F(OnnxTest, EveryCaseIsWritten) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::vector<NamedTensor> state = state_of(c);
    const Inputs inputs = inputs_of(c, 2);
    write_onnx(file(fmt::format("{}.onnx", c.name)), request_of(c, inputs, state));
    write_arrays(c, state, file(fmt::format("{}.safetensors", c.name)));
  }
}

TEST_F(OnnxTest, WhatHasNoFormHereIsNamed) {
  const std::int64_t indices[] = {1, 0};
  const Tensor rows = Tensor::from<std::int64_t>(indices, {2}, Dtype::i64);
  says(refusal([&](const Tensor& x) { return gather_rows(x, rows); }),
       "rows.gather cannot be written as ONNX");
  says(refusal([&](const Tensor& x) { return cast(x, Dtype::f64); }),
       "cast.forward cannot be written as ONNX");
}

TEST_F(OnnxTest, WhatNoPrimitiveWroteIsAnError) {
  const char* const neither = "port 'x' holds neither an input of the model nor what a primitive wrote";
  says(refusal([](const Tensor& x) { return relu(Tensor::full(x.shape(), 0.5, Dtype::f32)); }), neither);
  says(refusal([](const Tensor& x) {
         Tensor y = relu(x);
         y.fill(0.5);  // behind the exporter's back
         return relu(y);
       }),
       neither);
  says(refusal([](const Tensor& x) { return add(x, Tensor::full(x.shape(), 0.5, Dtype::f32)); }),
       "port 'b' of 2x4x3x5 holds neither a value nor a parameter");
  says(refusal([](const Tensor& x) {
         return conv2d(x, values({2, 1, 1, 5}, 2), {});
       }),
       "conv2d.forward cannot be written as ONNX: its port 'w' holds no parameter of the model");
  says(refusal([](const Tensor&) { return values({2, 3}, 1); }), "the result of the forward pass");
}

TEST_F(OnnxTest, TheBatchStaysTheFirstDimension) {
  says(refusal([](const Tensor& x) {
         return softmax(reshape(relu(x), {24, 5}));
       }),
       "2x4x3x5 is taken as 24x5");
  says(refusal([](const Tensor& x) {
         return adaptive_avg_pool(reshape(relu(x), {1, 8, 3, 5}), 4, 3);
       }),
       "2x4x3x5 is taken as 1x8x3x5");
}

TEST_F(OnnxTest, OnlySinglePrecisionOfTheHost) {
  const Tensor wide = Tensor::zeros({1, 2, 2, 1}, Dtype::f64);
  says(message_of([&] {
         write_onnx(file("wide.onnx"), {.inputs = {{"x", wide}}, .forward = [&] { return relu(wide); }});
       }),
       "the input 'x' is f64 on cpu");
  EXPECT_FALSE(std::filesystem::exists(file("wide.onnx")));
}

TEST_F(OnnxTest, SizeAndPlace) {
  check_onnx_size("a", (std::size_t{1} << 31) - 1);
  says(message_of([] { check_onnx_size("big.onnx", std::size_t{1} << 31); }),
       "big.onnx would have 2147483648 bytes, and one ONNX file holds at most 2147483647");
  const Tensor x = values({2, 3}, 1);
  says(message_of([&] {
         write_onnx(file("nowhere/x.onnx"), {.inputs = {{"x", x}}, .forward = [&] { return relu(x); }});
       }),
       "make the folder first");
}

}  // namespace
}  // namespace fovea
