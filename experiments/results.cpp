// See results.hpp.
#include "results.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "eval/epoch_log.hpp"
#include "eval/plots.hpp"
#include "eval/report.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/memory.hpp"
#include "version.hpp"

namespace fovea {
namespace {

std::int64_t peak_process_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

nlohmann::ordered_json machine_stamp(const RunConfig& config) {
  nlohmann::ordered_json stamp;
  stamp["fovea"] = version();
  stamp["commit"] = commit();
  stamp["date"] = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  stamp["machine"] = {{"cpu", processor_name()}, {"processors", sysconf(_SC_NPROCESSORS_ONLN)}};
  stamp["compiler"] = __VERSION__;
  stamp["device"] = config.device;
  stamp["dtype"] = config.dtype;
  stamp["amp"] = config.amp;
  stamp["threads"] = config.threads;
  if (config.device == "cuda") stamp["gpu"] = to_string(device_info());
  return stamp;
}

std::string stamp_json(const RunConfig& config, const Results& results, const KernelsUsed& kernels) {
  const StepMemory& memory = results.memory;
  nlohmann::ordered_json stamp = machine_stamp(config);
  stamp["peak_memory_bytes"] = {{"tensors", memory_use(parse_device(config.device)).peak},
                                {"process", peak_process_bytes()}};
  if (memory.peak > 0) {
    stamp["first_step_memory_bytes"] = {{"peak", memory.peak},
                                        {"sum", memory.sum()},
                                        {"parameters", memory.parameters},
                                        {"gradients", memory.gradients},
                                        {"optimizer", memory.optimizer},
                                        {"saved_for_backward", memory.saved},
                                        {"images", memory.images}};
  }
  stamp["parameters"] = results.parameters;
  stamp["gflops_per_sample"] = results.flops_per_sample * 1e-9;
  stamp["kernels"] = nlohmann::ordered_json::object();
  for (const auto& [primitive, names] : kernels) stamp["kernels"][primitive] = names;
  return stamp.dump(2) + "\n";
}

std::vector<std::pair<std::string, std::string>> facts(const RunConfig& config, const Dataset& dataset,
                                                       const Split& split, const Results& results) {
  return {{"Set", dataset.source},
          {"Split", split.origin},
          {"Samples", fmt::format("{} train, {} validation, {} held out", split.train.size(),
                                  split.validation.size(), split.test.size())},
          {"Modalities", fmt::format("{}", fmt::join(config.model.modalities, ", "))},
          {"Image size", fmt::format("{} x {}", config.height, config.width)},
          {"Checkpoint", results.checkpoint},
          {"Seed", fmt::format("{}", config.seed)}};
}

}  // namespace

std::string resolve_checkpoint(const std::string& wanted, const Split& split) {
  if (wanted != "auto") return wanted;
  return split.held_out_validates ? "last" : "best";
}

std::string checkpoint_note(const std::string& checkpoint, const Split& split) {
  if (checkpoint != "best" || !split.held_out_validates) return "";
  return "The best epoch was chosen by the same samples that these figures are of, so they are optimistic; "
         "--checkpoint last is not.";
}

SplitOptions split_options(const RunConfig& config) {
  return {
      .fold = static_cast<int>(config.fold), .folds = static_cast<int>(config.folds), .seed = config.seed};
}

Metrics metrics_of(const Outcome& outcome, const Dataset& dataset, const RunConfig& config) {
  return compute_metrics(outcome.predictions, dataset.classes,
                         {.resamples = static_cast<int>(config.resamples), .seed = config.seed});
}

void write_results(const RunFolder& folder, const RunConfig& config, const Dataset& dataset,
                   const Split& split, const Outcome& outcome, const Results& results,
                   const KernelsUsed& kernels) {
  const std::vector<EpochRow> rows = read_epoch_log(folder.file("metrics.jsonl"));
  const std::string stamp = stamp_json(config, results, kernels);
  write_file_atomically(folder.file("metrics.json"), metrics_json(results.metrics));
  write_file_atomically(folder.file("predictions.csv"), predictions_csv(outcome.predictions));
  write_file_atomically(folder.file("stamp.json"), stamp);
  if (!results.pictures.maps.empty())
    write_file_atomically(folder.file("maps.jpg"), results.pictures.maps.front().bytes);
  draw_curves(folder.file("curves.png"), rows);
  draw_confusion(folder.file("confusion.png"), results.metrics.confusion, dataset.classes);
  ReportInput report;
  report.title =
      fmt::format("{} on {}", config.model.name, std::filesystem::path(config.data).filename().string());
  report.model = config.model.name;
  report.facts = facts(config, dataset, split, results);
  report.metrics = results.metrics;
  report.predictions = outcome.predictions;
  report.mistakes = results.pictures.mistakes;
  report.maps = results.pictures.maps;
  report.rows = rows;
  report.profile = results.profile;
  report.config = config_toml(config);
  report.stamp = stamp;
  report.notes.push_back(fmt::format("The figures are of the held-out part ({}) with the {} checkpoint.",
                                     split.origin, results.checkpoint));
  if (!results.note.empty()) report.notes.push_back(results.note);
  write_report(folder.path(), report);
}

std::string machine_stamp_json(const RunConfig& config) { return machine_stamp(config).dump(2) + "\n"; }

std::string StepMemory::text() const {
  return fmt::format(
      "memory of a step: {} at most, of {} in all (parameters {}, gradients {}, optimizer {}, saved for "
      "backward {}, images {})",
      bytes_text(peak), bytes_text(sum()), bytes_text(parameters), bytes_text(gradients),
      bytes_text(optimizer), bytes_text(saved), bytes_text(images));
}

std::string memory_line(const RunConfig& config) {
  constexpr double mib = 1 << 20;
  return fmt::format("peak memory: tensors {:.0f} MiB, process {:.0f} MiB",
                     static_cast<double>(memory_use(parse_device(config.device)).peak) / mib,
                     static_cast<double>(peak_process_bytes()) / mib);
}

}  // namespace fovea
