// The convolutions of VGG (Simonyan and Zisserman 2014), block by block, as torchvision's
// `vgg<depth>[_bn].features`.
//
// Five blocks of 3x3 convolutions with ReLU (and batch norm between), a 2x2 max-pool after each. Names and
// indices are torchvision's, so that its weights fit: "0.weight", "3.weight", ...
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "nn/layers.hpp"

namespace fovea {

class VggFeatures : public Module {
 public:
  static constexpr int blocks = 5;
  static constexpr std::array<std::int64_t, blocks> widths{64, 128, 256, 512, 512};
  static std::vector<std::string> backbones();  // vgg11 vgg13 vgg16 vgg19

  /// `backbone` is one of backbones(); UsageError otherwise.
  VggFeatures(const std::string& backbone, bool bn, std::int64_t in_channels, Dtype dtype);

  /// Block 1..5 up to its last ReLU, before its max-pool: N,H,W,widths[block - 2] -> N,H,W,widths[block - 1].
  Tensor block(int block, const Tensor& x);
  /// "16", of block 1..5 (its last ReLU), and of its max-pool: the indices in torchvision's Sequential.
  std::string index_of(int block) const { return std::to_string(ends_[static_cast<std::size_t>(block - 1)]); }
  std::string index_of_pool(int block) const {
    return std::to_string(ends_[static_cast<std::size_t>(block - 1)] + 1);
  }
  /// The max-pool after each block: sizes are halved, rounded down.
  static Tensor pool(const Tensor& x);
  /// pool(block(x)) where nobody else needs the block: the ReLU, which the maximum does not mind, comes after the pool,
  /// so that the block's largest tensor is neither kept for its mask nor read for it.
  Tensor pooled_block(int block, const Tensor& x);

 private:
  Tensor run(int block, const Tensor& x, Activation last);

  struct Step {
    Conv2d* conv;
    BatchNorm2d* bn;  // null without batch norm
  };
  std::deque<Conv2d> convs_;  // a deque: modules do not move
  std::deque<BatchNorm2d> bns_;
  std::array<std::vector<Step>, blocks> steps_;
  std::array<int, blocks> ends_{};  // index of each block's last ReLU
};

}  // namespace fovea
