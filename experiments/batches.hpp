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
#include "models/zoo.hpp"
#include "run_config.hpp"

namespace fovea {

InputSpec input_spec(const RunConfig& config);

/// The set of the config. Where `config` has class names (a trained run's), labels must be among them.
Dataset open_data(const RunConfig& config, const std::string& path, bool labels_required);

/// Batches in the order given, without augmentation.
LoaderOptions plain_options(const RunConfig& config, std::shared_ptr<ImageCache> cache);

/// On the device of the config.
ModelInput model_input(const Batch& batch, const RunConfig& config);
Tensor label_tensor(const Batch& batch);

struct Outcome {
  std::vector<Prediction> predictions;
  double loss = 0;      // mean cross-entropy without smoothing or weights, of the labelled ones
  double accuracy = 0;  // of the labelled ones
  bool complete = true;
};

/// Predictions of everything in the loader, softmax in double; in inference mode. `go_on` is asked after
/// every batch with the number done; false stops, and the outcome is not complete.
Outcome predict_all(Model& model, Loader& loader, const Dataset& dataset, const RunConfig& config,
                    const std::function<bool(int)>& go_on = {});

}  // namespace fovea
