// The pictures on a run's page: the worst mistakes and, of each class, what was recognised best; both with the class
// activation maps of the predicted class.
#pragma once

#include <vector>

#include "batches.hpp"
#include "eval/report.hpp"

namespace fovea {

struct RunPictures {
  std::vector<Mistake> mistakes;  // at most eight, the most confident first
  std::vector<Picture> maps;      // a sheet of one sample for each class; none where nothing is right
};

/// Of predictions that `model` made of `dataset`. Error, naming the file, where an image cannot be read any more. `model`
/// is left in inference mode and without gradients.
RunPictures run_pictures(Model& model, Inputs& inputs, const RunConfig& config, const Dataset& dataset,
                         const std::vector<Prediction>& predictions);

}  // namespace fovea
