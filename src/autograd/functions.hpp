// Functions: the differentiable operations. Each names the primitives of its forward and backward and what it
// saves; everything about shapes is checked by the primitives' Problems.
//
// Types: an op has that of its first input, with small tensors (biases, statistics, gradients of parameters, losses)
// of param_dtype(). In bf16 filters are given as fp32 masters, of which the op reads the bf16 copy
// (Tensor::bf16_shadow); all gradients of parameters are then fp32.
//
// Shapes: images N,H,W,C; filters K,R,S,C/groups; matrices rows x columns. An undefined Tensor is an absent
// option.
#pragma once

#include <cstdint>
#include <vector>

#include "autograd/engine.hpp"
#include "autograd/tensor.hpp"

namespace fovea {

/// Where a function writes its result: a tensor of its own, or channels of an image of the result's N,H,W and dtype, from
/// `begin` on. It then returns the image's next tensor: the same bytes, and a node more. Images begin as Tensor::zeros and
/// are filled with one function after another, each into channels that none has written or read before; so what was made
/// from an earlier tensor of the image stays right, and its gradients are of the channels that were there.
struct Into {
  Tensor image;  // undefined: a tensor of its own
  std::int64_t begin = 0;
};

enum class Activation : std::uint8_t { none, relu };

struct Conv2dOptions {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  Activation activation = Activation::none;
};
/// y = act(x * w + b); w is K,R,S,C/groups, b has K elements or is undefined. As torch.nn.functional.conv2d.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dOptions& options = {},
              const Into& into = {});

/// y = act(x w^T + b), N,out; x is N,in and w out,in, or, flattened as they lie, x N,H,W,C and w out,H,W,C; b is out or
/// undefined.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation = Activation::none);

struct BatchNormOptions {
  bool training = true;  // batch statistics, and the running ones updated; else the running ones are used
  double eps = 1e-5;
  double momentum =
      0.1;  // running = (1 - momentum) running + momentum batch; the variance is the unbiased one
  Activation activation = Activation::none;
  std::int64_t first_channels = 0;  // of x, the rest of which is not looked at; 0: all
};
/// Over the last dimension C; running_mean and running_var are updated in place in training.
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean,
                  Tensor running_var, const BatchNormOptions& options, const Into& into = {});

/// Over the last dimension C; gamma and beta have C elements. As torch.nn.functional.layer_norm.
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps = 1e-5);

struct PoolOptions {
  std::int64_t kernel_h = 2, kernel_w = 2;
  std::int64_t stride_h = 2, stride_w = 2;
  std::int64_t pad_h = 0, pad_w = 0;
  bool count_include_pad = true;  // average pooling only
  bool ceil_mode = false;         // as torch's: a last window may be cut short
};
Tensor max_pool(const Tensor& x, const PoolOptions& options, const Into& into = {});
Tensor avg_pool(const Tensor& x, const PoolOptions& options, const Into& into = {});
/// N,H,W,C -> N,out_h,out_w,C. As torch.nn.functional.adaptive_avg_pool2d; x itself where it has that size.
Tensor adaptive_avg_pool(const Tensor& x, std::int64_t out_h, std::int64_t out_w);
/// N,H,W,C -> N,C
Tensor global_avg_pool(const Tensor& x);

/// The same values in another floating type, as near as it has them.
Tensor cast(const Tensor& x, Dtype dtype);

Tensor relu(const Tensor& x);
Tensor sigmoid(const Tensor& x);
/// x Phi(x), the exact one (erf). As torch.nn.functional.gelu.
Tensor gelu(const Tensor& x);
/// Broadcast as numpy does: dimensions are matched from the last, one of the two may be 1 or absent.
Tensor add(const Tensor& a, const Tensor& b);
Tensor multiply(const Tensor& a, const Tensor& b);
/// Along the last dimension.
Tensor concat(const std::vector<Tensor>& parts);
Tensor reshape(const Tensor& x, const Shape& shape);

/// Rows (first dimension) of x at `indices` (i64), in that order; the gradient adds up where an index occurs
/// twice.
Tensor gather_rows(const Tensor& x, const Tensor& indices);
/// A tensor of `rows` rows, zero but for row indices[i] = x's row i. Indices are distinct.
Tensor scatter_rows(const Tensor& x, const Tensor& indices, std::int64_t rows);

/// Keeps each element with probability 1-p, scaled by 1/(1-p). Element i of call `offset` under `seed` is a
/// pure function of (seed, offset, i): Philox4x32-10, so neither threads nor devices change it.
Tensor dropout(const Tensor& x, double p, std::uint64_t seed, std::uint64_t offset);

/// x + s gamma f: the end of a residual branch f with layer scale (gamma: as many elements as f has channels, its last
/// dimension) and stochastic depth. s is one number for each sample (first dimension): 0 with probability p, else
/// 1/(1-p), by dropout's random numbers, sample n as its element n; 1 where p is 0.
Tensor scale_residual(const Tensor& x, const Tensor& f, const Tensor& gamma, double p = 0,
                      std::uint64_t seed = 0, std::uint64_t offset = 0);

struct CrossEntropyOptions {
  double label_smoothing = 0;
  Tensor class_weights;  // K, or undefined
};
/// Mean softmax cross-entropy of logits N,K against labels N (i64), as torch.nn.functional.cross_entropy:
/// weighted mean where there are class weights. A scalar.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

/// Over the last dimension.
Tensor softmax(const Tensor& x);

enum class HamVariant : std::uint8_t { paper, scse };
struct HamParameters {
  Tensor spatial_weight, spatial_bias;  // C; 1
  Tensor fc1_weight, fc1_bias;          // C/16,C; C/16
  Tensor fc2_weight, fc2_bias;          // C,C/16; C
};
/// Fused channel-spatial attention (HM-VGG, Eqs. 5-10) over x N,H,W,C.
Tensor ham(const Tensor& x, const HamParameters& parameters, HamVariant variant = HamVariant::paper);

struct MlrmBranch {
  Tensor weight;  // C,3,3,C
  Tensor gamma, beta, running_mean, running_var;
  std::int64_t dilation = 1;
};
struct MlrmOptions {
  bool training = true;
  double eps = 1e-5, momentum = 0.1;
};
/// Multi-dilation residual convolution (HM-VGG, Eq. 11), fuse = sum: x + sum_d relu(bn_d(conv3x3_d(x))). One
/// to four branches. (fuse = concat is composed of conv2d, batch_norm and concat by the model.)
Tensor mlrm(const Tensor& x, const std::vector<MlrmBranch>& branches, const MlrmOptions& options);

struct HeadParameters {
  Tensor shortcut_weight, shortcut_bias;  // C,C (the 1x1 convolution of the pooled shortcut); C
  Tensor fc1_weight, fc1_bias;            // hidden,C; hidden
  Tensor fc2_weight, fc2_bias;            // classes,hidden; classes
};
/// logits = fc2(relu(fc1(gap(m) + shortcut(gap(r))))) over m and r, N,H,W,C of possibly different H,W: one
/// stream.
Tensor head(const Tensor& m, const Tensor& r, const HeadParameters& parameters);

}  // namespace fovea
