// What the comparison models share: one image of three channels, N,H,W,3, and the checks of it.
#pragma once

#include <cstdint>

#include "models/zoo.hpp"

namespace fovea {

class ImageModel : public Model {
 public:
  void check_input_size(std::int64_t height, std::int64_t width) const override;

 protected:
  ImageModel(const ModelConfig& config, std::int64_t smallest) : Model(config), smallest_(smallest) {}
  /// The image, checked: one input that every sample has, N,H,W,3, of the model's type or bf16.
  const Tensor& image_of(const ModelInput& input) const;

 private:
  std::int64_t smallest_;  // side of an image that leaves every layer at least a pixel
};

}  // namespace fovea
