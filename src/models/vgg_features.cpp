// VGG's blocks, indexed as torchvision's make_layers does. See vgg_features.hpp.
#include "models/vgg_features.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

struct Depth {
  const char* name;
  std::array<int, VggFeatures::blocks> convs;
};
constexpr std::array<Depth, 4> depths{{{"vgg11", {1, 1, 2, 2, 2}},
                                       {"vgg13", {2, 2, 2, 2, 2}},
                                       {"vgg16", {2, 2, 3, 3, 3}},
                                       {"vgg19", {2, 2, 4, 4, 4}}}};

const Depth& depth_of(const std::string& backbone) {
  const auto found =
      std::find_if(depths.begin(), depths.end(), [&](const Depth& d) { return backbone == d.name; });
  if (found == depths.end()) {
    fail_usage(fmt::format("there is no backbone '{}'{}", backbone,
                           nearest_hint(backbone, VggFeatures::backbones())));
  }
  return *found;
}

}  // namespace

std::vector<std::string> VggFeatures::backbones() {
  std::vector<std::string> names;
  for (const Depth& depth : depths) names.emplace_back(depth.name);
  return names;
}

VggFeatures::VggFeatures(const std::string& backbone, bool bn, std::int64_t in_channels, Dtype dtype) {
  const Depth& depth = depth_of(backbone);
  int index = 0;  // in torchvision's Sequential: convolution, [batch norm,] ReLU, ..., max-pool
  std::int64_t in = in_channels;
  for (std::size_t b = 0; b < blocks; ++b) {
    for (int i = 0; i < depth.convs[b]; ++i) {
      Conv2d& conv = convs_.emplace_back(
          Conv2dSpec{.in = in, .out = widths[b], .options = {.pad_h = 1, .pad_w = 1}}, dtype);
      add_module(std::to_string(index++), conv);
      BatchNorm2d* norm = bn ? &bns_.emplace_back(widths[b], dtype) : nullptr;
      if (norm) add_module(std::to_string(index++), *norm);
      steps_[b].push_back({.conv = &conv, .bn = norm});
      in = widths[b];
      ++index;
    }
    ends_[b] = index - 1;
    ++index;
  }
}

Tensor VggFeatures::run(int block, const Tensor& x, Activation last) {
  const std::vector<Step>& steps = steps_[static_cast<std::size_t>(block - 1)];
  Tensor y = x;
  for (const Step& step : steps) {
    const Activation activation = &step == &steps.back() ? last : Activation::relu;
    y = step.bn ? step.bn->forward(step.conv->forward(y), activation) : step.conv->forward(y, activation);
  }
  return y;
}

Tensor VggFeatures::block(int block, const Tensor& x) { return run(block, x, Activation::relu); }

Tensor VggFeatures::pool(const Tensor& x) { return max_pool(x, {}); }

Tensor VggFeatures::pooled_block(int block, const Tensor& x) {
  return relu(pool(run(block, x, Activation::none)));
}

}  // namespace fovea
