// From samples to the network and back: what training, evaluation and prediction share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "data/loader.hpp"
#include "data/split.hpp"
#include "eval/predictions.hpp"
#include "inputs.hpp"
#include "models/zoo.hpp"
#include "run_config.hpp"

namespace fovea {

InputSpec input_spec(const RunConfig& config);

/// The set of the config. Where `config` has class names (a trained run's), labels must be among them.
Dataset open_data(const RunConfig& config, const std::string& path, bool labels_required);

/// Those of a loader whose batches train.
LoaderOptions training_options(const RunConfig& config, LoaderOptions options);

/// The samples that an epoch needs, of training and validation.
std::vector<int> used_in_epochs(const Split& split);

/// The config's model on its device. UsageError where it cannot take the config's size of image.
std::unique_ptr<Model> checked_model(const RunConfig& config);

Tensor label_tensor(const Batch& batch);

struct Outcome {
  std::vector<Prediction> predictions;
  double loss = 0;      // mean cross-entropy without smoothing or weights, of the labelled ones
  double accuracy = 0;  // of the labelled ones
  bool complete = true;
};

/// Predictions of everything in the loader, softmax in double; in inference mode. `go_on` is asked after
/// every batch with the number done; false stops, and the outcome is not complete.
Outcome predict_all(Model& model, Loader& loader, Inputs& inputs, const Dataset& dataset,
                    const std::function<bool(int)>& go_on = {});

}  // namespace fovea
