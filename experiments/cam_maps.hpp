// Class activation maps of samples: what the network looked at, as arrays and as pictures. For `fovea cam` and
// for pages of a run. The maths is eval/cam.hpp's, the pass through the model eval/cam_pass.hpp's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/image.hpp"
#include "data/regions.hpp"
#include "eval/cam.hpp"
#include "eval/cam_scores.hpp"
#include "inputs.hpp"
#include "models/zoo.hpp"
#include "run_config.hpp"

namespace fovea {

struct CamOptions {
  CamMethod method = CamMethod::gradcam;
  std::vector<std::string> layers =
      {};  // names as Model::cam_layers() has them, or aliases; empty: the model's default
  std::optional<std::int64_t> target = {};  // a class; none: each sample's most likely
  int faithfulness_steps = 0;               // of insertion and deletion; 0: neither is scored
  double fovea_radius = 0.1;  // of the circle around the fovea, in parts of the image's shorter side
  int batch = 8;              // changed images in a forward pass of faithfulness
};

/// UsageError for a layer or a class that the model has not.
void check_cam_options(const Model& model, const CamOptions& options);

/// One map: of a sample, a modality and a layer.
struct CamResult {
  std::string id;
  std::string modality;  // the model's stream ("fundus", "early"), or the one input's name
  std::string layer;     // "M2"; "M2+R5": the mean of several
  std::int64_t label = -1, predicted = 0, target = 0;  // label -1: not labelled
  double probability = 0;                              // of the target
  CamStatus status = CamStatus::ok;
  int height = 0, width = 0;
  std::vector<float> map;  // height x width within 0..1; empty unless the status is ok
  Image seen;              // RGB: what the network saw; of early fusion its first image that the sample has
  Image overlay;           // RGB: the map over it; `seen` unless the status is ok
  std::optional<double> insertion, deletion;  // where they were asked for
  std::optional<Energy> disc, fovea;          // where the set marks them and they lie in the picture
};

/// Of the samples at `indices`, in their order: sample by sample, modality by modality (those that it has),
/// layer by layer, and where several layers are named their mean last. UsageError as check_cam_options() has
/// it. `model` is left in inference mode and without gradients.
std::vector<CamResult> cam_maps(Model& model, Inputs& inputs, const RunConfig& config, const Dataset& dataset,
                                const std::vector<int>& indices, const CamOptions& options);

/// The same, handed over batch by batch.
void cam_maps(Model& model, Inputs& inputs, const RunConfig& config, const Dataset& dataset,
              const std::vector<int>& indices, const CamOptions& options,
              const std::function<void(std::vector<CamResult>)>& take);

/// One sample of arrays that came from elsewhere.
struct CamSample {
  std::string id;
  std::int64_t label = -1;
  std::vector<Image> seen = {};  // RGB, one for each input; empty where the sample lacks it
  InputRegions regions = {};     // in the input "fundus"
};

/// Of one batch: `names` are the inputs', in their order.
std::vector<CamResult> cam_maps(Model& model, const ModelInput& input, const std::vector<std::string>& names,
                                const std::vector<CamSample>& samples, const CamOptions& options);

/// The map in viridis over the picture, half and half.
Image overlay_of(const Image& picture, const std::vector<float>& map);

inline constexpr int most_sheet_rows = 40;

/// A row for each sample (the first most_sheet_rows): what the network saw beside the maps of its layers,
/// modality by modality; under a map what was scored.
Image cam_sheet(const std::vector<CamResult>& results, const std::vector<std::string>& classes);

}  // namespace fovea
