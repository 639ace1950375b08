// fovea evaluate: the figures of a run, on its held-out part or on another set.
#include <fmt/format.h>

#include <numeric>

#include "batches.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "eval/report.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "results.hpp"
#include "run_folder.hpp"
#include "run_pictures.hpp"
#include "sample_lists.hpp"

namespace fovea {
namespace {

void write_page(const std::string& path, const RunFolder& run, const RunConfig& config,
                const Dataset& dataset, const Split& split, const std::string& checkpoint,
                const Outcome& outcome, const Metrics& metrics, RunPictures pictures) {
  ReportInput report;
  report.title = fmt::format("{} on {}", run.path(), dataset.source);
  report.model = config.model.name;
  report.facts = {{"Run", run.path()},
                  {"Set", dataset.source},
                  {"Samples", fmt::format("{} ({})", split.test.size(), split.origin)},
                  {"Checkpoint", checkpoint}};
  if (const std::string note = checkpoint_note(checkpoint, split); !note.empty())
    report.notes.push_back(note);
  report.metrics = metrics;
  report.predictions = outcome.predictions;
  report.mistakes = std::move(pictures.mistakes);
  report.maps = std::move(pictures.maps);
  report.rows = read_epoch_log(run.file("metrics.jsonl"));
  report.config = config_toml(config);
  write_file_atomically(path, report_html(report));
}

}  // namespace

int command_evaluate(const Arguments& arguments) {
  CommandLine line(
      "evaluate",
      "Metrics of a trained run with 95 % intervals: on the part it held out, or on all of another set.",
      "  fovea evaluate --run runs/first\n"
      "  fovea evaluate --run runs/first --checkpoint best --json\n"
      "  fovea evaluate --run runs/first --data another_set --report another_set.html\n");
  std::string run, data, checkpoint, page;
  line.option("--run", run, "DIR", "the run's folder");
  line.option("--data", data, "PATH", "another set, all of whose samples are evaluated");
  line.option("--checkpoint", checkpoint, "best|last", "which weights (as the run's configuration says)");
  line.option("--report", page, "FILE.html", "a page with curves, calibration, the worst mistakes and maps");
  if (!line.parse(arguments)) return exit_done;
  if (run.empty()) line.usage("give the folder of a run: --run DIR");
  if (!page.empty() && !page.ends_with(".html"))
    line.usage(fmt::format("--report {} must end in .html", page));
  const RunFolder folder(run);
  RunConfig config = line.config(folder.config());
  if (!checkpoint.empty()) set_key(config, "checkpoint", checkpoint);
  resolve(config);
  allow_without_amp(config);
  apply_to_process(config);
  const bool held_out = data.empty() || same_place(data, config.data);
  const Dataset dataset = open_data(config, held_out ? config.data : data, true);
  Split split;
  if (held_out) {
    split = make_split(dataset, split_options(config));
  } else {
    split.test.resize(dataset.samples.size());
    std::iota(split.test.begin(), split.test.end(), 0);
    split.origin = "all samples";
  }
  checkpoint = resolve_checkpoint(config.checkpoint, split);
  const std::unique_ptr<Model> model = make_model(config.model);
  folder.load_checkpoint(*model, checkpoint);
  model->to(parse_device(config.device));
  Inputs inputs(config, dataset);
  Loader loader(dataset, split.test, input_spec(config), inputs.loader_options(nullptr));
  const Outcome outcome = predict_all(*model, loader, inputs, dataset);
  const Metrics metrics = metrics_of(outcome, dataset, config);
  fmt::print("{}", line.json() ? metrics_json(metrics) : metrics_table(metrics, config.model.name));
  fmt::print(stderr, "{}: {} samples ({}), {} checkpoint\n", dataset.source, split.test.size(), split.origin,
             checkpoint);
  const std::string note = checkpoint_note(checkpoint, split);
  if (!page.empty())
    write_page(page, folder, config, dataset, split, checkpoint, outcome, metrics,
               run_pictures(*model, inputs, config, dataset, outcome.predictions));
  if (!note.empty()) fmt::print(stderr, "note: {}\n", note);
  return exit_done;
}

}  // namespace fovea
