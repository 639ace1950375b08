// Layers: registration, initial values and the one call each makes. See layers.hpp.
#include "nn/layers.hpp"

#include "nn/init.hpp"

namespace fovea {
namespace {

void start(Tensor& weight, Tensor& bias, Init init, std::uint64_t seed, const std::string& prefix) {
  const InitKey key{.seed = seed, .name = prefix + "weight"};
  switch (init.weight) {
    case Init::Weight::kaiming_fan_in:
      kaiming_normal_(weight, Fan::in, key);
      break;
    case Init::Weight::kaiming_fan_out:
      kaiming_normal_(weight, Fan::out, key);
      break;
    case Init::Weight::xavier:
      xavier_uniform_(weight, key);
      break;
    case Init::Weight::pytorch:
      pytorch_default_(weight, fans_of(weight.shape()).in, key);
      break;
    case Init::Weight::normal:
      normal_(weight, init.deviation, key);
      break;
  }
  if (!bias) return;
  if (init.draws_bias) {
    pytorch_default_(bias, fans_of(weight.shape()).in, {.seed = seed, .name = prefix + "bias"});
  } else {
    bias.fill(0);
  }
}

}  // namespace

Conv2dSpec same_conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, Init init) {
  const std::int64_t pad = kernel / 2;
  return {.in = in,
          .out = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .options = {.stride_h = stride, .stride_w = stride, .pad_h = pad, .pad_w = pad},
          .bias = false,
          .init = init};
}

Conv2d::Conv2d(const Conv2dSpec& spec, Dtype dtype) : spec_(spec) {
  const Shape shape{spec.out, spec.kernel_h, spec.kernel_w, spec.in / spec.options.groups};
  weight_ = add_parameter("weight", shape, dtype, Layout::filter);
  if (spec.bias) bias_ = add_parameter("bias", {spec.out}, dtype);
}

Tensor Conv2d::forward(const Tensor& x, Activation activation, const Into& into) const {
  const LayerScope layer = scope();
  Conv2dOptions options = spec_.options;
  options.activation = activation;
  return conv2d(x, weight_, bias_, options, into);
}

void Conv2d::initialise_own(std::uint64_t seed, const std::string& prefix) {
  start(weight_, bias_, spec_.init, seed, prefix);
}

Linear::Linear(const LinearSpec& spec, Dtype dtype) : spec_(spec) {
  const Layout layout = spec.as_1x1 ? Layout::matrix_1x1 : Layout::plain;
  weight_ = add_parameter("weight", {spec.out, spec.in}, dtype, layout);
  if (spec.bias) bias_ = add_parameter("bias", {spec.out}, dtype);
}

Tensor Linear::forward(const Tensor& x, Activation activation) const {
  const LayerScope layer = scope();
  return linear(x, weight_, bias_, activation);
}

void Linear::initialise_own(std::uint64_t seed, const std::string& prefix) {
  start(weight_, bias_, spec_.init, seed, prefix);
}

ImageLinear::ImageLinear(std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t out, Init init,
                         Dtype dtype)
    : init_(init) {
  weight_ = add_parameter("weight", {out, h, w, c}, dtype, Layout::image_matrix);
  bias_ = add_parameter("bias", {out}, dtype);
}

Tensor ImageLinear::forward(const Tensor& x, Activation activation) const {
  const LayerScope layer = scope();
  return linear(x, weight_, bias_, activation);
}

void ImageLinear::initialise_own(std::uint64_t seed, const std::string& prefix) {
  start(weight_, bias_, init_, seed, prefix);
}

BatchNorm2d::BatchNorm2d(std::int64_t channels, Dtype dtype, double eps, double momentum)
    : eps_(eps), momentum_(momentum) {
  weight_ = add_parameter("weight", {channels}, dtype);
  bias_ = add_parameter("bias", {channels}, dtype);
  running_mean_ = add_buffer("running_mean", Tensor::zeros({channels}, dtype));
  running_var_ = add_buffer("running_var", Tensor::full({channels}, 1, dtype));
  num_batches_tracked_ = add_buffer("num_batches_tracked", Tensor::zeros({}, Dtype::i64));
}

Tensor BatchNorm2d::forward(const Tensor& x, Activation activation, const Into& into) {
  const LayerScope layer = scope();
  Tensor y = batch_norm(x, weight_, bias_, running_mean_, running_var_, options(activation), into);
  count_batch();
  return y;
}

Tensor BatchNorm2d::forward_first(const Tensor& image, Activation activation) {
  const LayerScope layer = scope();
  BatchNormOptions first = options(activation);
  first.first_channels = weight_.numel();
  Tensor y = batch_norm(image, weight_, bias_, running_mean_, running_var_, first);
  count_batch();
  return y;
}

BatchNormOptions BatchNorm2d::options(Activation activation) const {
  return {.training = training(), .eps = eps_, .momentum = momentum_, .activation = activation};
}

void BatchNorm2d::count_batch() {
  if (!training()) return;
  ++*num_batches_tracked_.data<std::int64_t>();
  ++num_batches_tracked_.storage()->version;
}

void BatchNorm2d::initialise_own(std::uint64_t, const std::string&) {
  weight_.fill(1);
  bias_.fill(0);
  running_mean_.fill(0);
  running_var_.fill(1);
  num_batches_tracked_.fill(0);
}

LayerNorm::LayerNorm(std::int64_t channels, Dtype dtype, double eps) : eps_(eps) {
  weight_ = add_parameter("weight", {channels}, dtype);
  bias_ = add_parameter("bias", {channels}, dtype);
}

Tensor LayerNorm::forward(const Tensor& x) const {
  const LayerScope layer = scope();
  return layer_norm(x, weight_, bias_, eps_);
}

void LayerNorm::initialise_own(std::uint64_t, const std::string&) {
  weight_.fill(1);
  bias_.fill(0);
}

Tensor Dropout::forward(const Tensor& x, std::uint64_t seed, std::uint64_t offset) const {
  const LayerScope layer = scope();
  return training() && p_ > 0 ? dropout(x, p_, seed, offset) : x;
}

}  // namespace fovea
