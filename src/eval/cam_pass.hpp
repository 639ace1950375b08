// One forward and one backward of a model for class activation maps: activations of its layers, and the
// gradients of a class's logit with respect to them.
//
// In inference mode samples do not see each other, so one backward of a whole batch, seeded with a one in every
// row, gives each sample the gradient of its own logit. Parameters require no gradient meanwhile: only the way
// from the logits down to the images is walked, and no gradient of a weight is made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/zoo.hpp"

namespace fovea {

/// The names of the model's layers for what was asked: names or torchvision's ("features.norm5"), in any mix;
/// its default for none. UsageError for an unknown name (the nearest, and all there are) or one named twice.
std::vector<std::string> resolve_cam_layers(const Model& model, const std::vector<std::string>& wanted);

/// A layer of one stream.
struct CamLayerValues {
  std::string stream, layer;  // stream empty: the model has none
  std::vector<std::int64_t>
      samples;  // row i is of this sample: late fusion runs the samples that have the modality
  Tensor activation, gradient;  // rows,h,w,C on the CPU
};

struct CamPass {
  Tensor logits;                      // N,classes in f64 on the CPU
  std::vector<std::int64_t> targets;  // N: the class of each sample's gradient
  std::vector<CamLayerValues>
      layers;  // stream by stream, in the order of `layers`; a stream that no sample needs is missing
};

/// `layers` are resolved names; `target` a class for all samples, else each sample's most likely one. Leaves
/// the model in inference mode, its parameters without gradients. Error where no input reaches the logits.
CamPass cam_pass(Model& model, const ModelInput& input, const std::vector<std::string>& layers,
                 std::optional<std::int64_t> target);

}  // namespace fovea
