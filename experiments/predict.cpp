// fovea predict: class probabilities of images or of a whole set, as CSV on stdout.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "batches.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "kernels/runtime/error.hpp"
#include "results.hpp"
#include "run_folder.hpp"
#include "sample_lists.hpp"

namespace fovea {
namespace {

void note_doubles(const Dataset& dataset) {
  std::set<std::string> ids;
  for (const Sample& sample : dataset.samples) {
    if (!ids.insert(sample.id).second) {
      fmt::print(stderr, "note: two files have the id '{}'; their rows are in the order given\n", sample.id);
    }
  }
}

void print_json(const Outcome& outcome, const std::vector<std::string>& classes) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Prediction& p : outcome.predictions) {
    list.push_back({{"id", p.id},
                    {"predicted", p.predicted},
                    {"class", classes[static_cast<std::size_t>(p.predicted)]},
                    {"probabilities", p.probabilities}});
  }
  fmt::print("{}\n", list.dump(2));
}

}  // namespace

int command_predict(const Arguments& arguments) {
  CommandLine line(
      "predict",
      "Class probabilities of photographs, or of every sample of a set, as CSV: id,predicted,p0,p1,...",
      "  fovea predict --run runs/first eye1.jpg eye2.png\n"
      "  fovea predict --run runs/first --data new_patients > predictions.csv\n");
  std::string run, data, checkpoint;
  std::vector<std::string> files;
  line.option("--run", run, "DIR", "the run's folder");
  line.option("--data", data, "PATH", "a set; its labels are not needed");
  line.option("--checkpoint", checkpoint, "best|last", "which weights (best, or what the run kept)");
  line.positionals("files", files, "fundus photographs, for a run on these alone");
  if (!line.parse(arguments)) return exit_done;
  if (run.empty()) line.usage("give the folder of a run: --run DIR");
  if (files.empty() == data.empty()) line.usage("give either files or --data PATH");
  const RunFolder folder(run);
  RunConfig config = line.config(folder.config());
  set_key(config, "checkpoint", folder.checkpoint_to_read(checkpoint));
  resolve(config);
  allow_without_amp(config);
  apply_to_process(config);
  const SampleList list =
      files.empty() ? samples_of_set(config, data, "all", "") : samples_of_files(config, files);
  const Dataset& dataset = list.dataset;
  if (!files.empty()) note_doubles(dataset);
  const std::unique_ptr<Model> model = make_model(config.model);
  folder.load_checkpoint(*model, config.checkpoint);
  model->to(parse_device(config.device));
  Inputs inputs(config, dataset);
  Loader loader(dataset, list.indices, input_spec(config), inputs.loader_options(nullptr));
  const Outcome outcome = predict_all(*model, loader, inputs, dataset);
  if (line.json()) {
    print_json(outcome, config.class_names);
  } else {
    fmt::print("{}", predictions_csv(outcome.predictions, PredictionColumns::bare));
  }
  return exit_done;
}

}  // namespace fovea
