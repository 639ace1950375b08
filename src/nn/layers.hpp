// Layers: thin modules over the functions, with PyTorch's parameter names and order.
//
// A layer owns its tensors and calls one function of functions.hpp. What is fused with it (an activation) is
// an argument of forward(), since the graph, not the layer, knows what follows.
#pragma once

#include <cstdint>
#include <string>

#include "autograd/functions.hpp"
#include "nn/module.hpp"

namespace fovea {

/// How a layer's weight starts (init.hpp), and whether its bias is drawn as torch's own layers draw it, or zero.
struct Init {
  enum class Weight : std::uint8_t { kaiming_fan_in, kaiming_fan_out, xavier, pytorch, normal };
  Weight weight = Weight::kaiming_fan_in;
  double deviation = 0;  // normal only
  bool draws_bias = false;

  static const Init kaiming_fan_in, kaiming_fan_out, xavier;
  static const Init pytorch;  // weight and bias
  static constexpr Init normal(double deviation) { return {Weight::normal, deviation, false}; }
  constexpr Init with_bias(bool drawn) const { return {weight, deviation, drawn}; }
};
inline constexpr Init Init::kaiming_fan_in{Weight::kaiming_fan_in};
inline constexpr Init Init::kaiming_fan_out{Weight::kaiming_fan_out};
inline constexpr Init Init::xavier{Weight::xavier};
inline constexpr Init Init::pytorch{Weight::pytorch, 0, true};

struct Conv2dSpec {
  std::int64_t in = 1, out = 1;
  std::int64_t kernel_h = 3, kernel_w = 3;
  Conv2dOptions options = {};
  bool bias = true;
  Init init = Init::kaiming_fan_in;
};
/// Without bias, of an odd square filter that keeps the image's size but for the stride.
Conv2dSpec same_conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, Init init);

/// torch.nn.Conv2d: weight (K,R,S,C/groups; a filter in files) and bias.
class Conv2d : public Module {
 public:
  Conv2d(const Conv2dSpec& spec, Dtype dtype);
  Tensor forward(const Tensor& x, Activation activation = Activation::none, const Into& into = {}) const;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 protected:
  void initialise_own(std::uint64_t seed, const std::string& prefix) override;

 private:
  Conv2dSpec spec_;
  Tensor weight_, bias_;
};

struct LinearSpec {
  std::int64_t in = 1, out = 1;
  bool bias = true;
  Init init = Init::xavier;
  bool as_1x1 = false;  // a 1x1 convolution of the twin: out,in,1,1 in files
};

/// torch.nn.Linear: weight (out,in) and bias.
class Linear : public Module {
 public:
  Linear(const LinearSpec& spec, Dtype dtype);
  Tensor forward(const Tensor& x, Activation activation = Activation::none) const;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 protected:
  void initialise_own(std::uint64_t seed, const std::string& prefix) override;

 private:
  LinearSpec spec_;
  Tensor weight_, bias_;
};

/// torch.nn.Linear behind torch.flatten of an image: the weight is out,H,W,C here, so that an image in N,H,W,C is
/// flattened as it lies, and out,(C H W) in files.
class ImageLinear : public Module {
 public:
  ImageLinear(std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t out, Init init, Dtype dtype);
  /// N,H,W,C -> N,out
  Tensor forward(const Tensor& x, Activation activation = Activation::none) const;

 protected:
  void initialise_own(std::uint64_t seed, const std::string& prefix) override;

 private:
  Init init_;
  Tensor weight_, bias_;
};

/// torch.nn.BatchNorm2d: weight, bias, running_mean, running_var, num_batches_tracked (i64, one more for
/// every forward in training).
class BatchNorm2d : public Module {
 public:
  BatchNorm2d(std::int64_t channels, Dtype dtype, double eps = 1e-5, double momentum = 0.1);
  Tensor forward(const Tensor& x, Activation activation = Activation::none, const Into& into = {});
  /// Of an image of which only this layer's channels, its first, are there.
  Tensor forward_first(const Tensor& image, Activation activation = Activation::none);
  /// For functions that contain the normalisation: counts the batch where in training.
  void count_batch();
  double eps() const { return eps_; }
  double momentum() const { return momentum_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  const Tensor& running_mean() const { return running_mean_; }
  const Tensor& running_var() const { return running_var_; }

 protected:
  void initialise_own(std::uint64_t seed, const std::string& prefix) override;

 private:
  BatchNormOptions options(Activation activation) const;

  double eps_, momentum_;
  Tensor weight_, bias_, running_mean_, running_var_, num_batches_tracked_;
};

/// torch.nn.LayerNorm over the last dimension: weight and bias.
class LayerNorm : public Module {
 public:
  LayerNorm(std::int64_t channels, Dtype dtype, double eps = 1e-5);
  Tensor forward(const Tensor& x) const;

 protected:
  void initialise_own(std::uint64_t seed, const std::string& prefix) override;

 private:
  double eps_;
  Tensor weight_, bias_;
};

/// torch.nn.Dropout: acts in training only. Element i of call `offset` under `seed` is a pure function of the
/// three.
class Dropout : public Module {
 public:
  explicit Dropout(double p) : p_(p) {}
  Tensor forward(const Tensor& x, std::uint64_t seed, std::uint64_t offset) const;

 private:
  double p_;
};

}  // namespace fovea
