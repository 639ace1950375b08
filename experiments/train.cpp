// fovea train: begins a run in an empty folder, or goes on with one.
#include <fmt/format.h>

#include "batches.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "interrupts.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/shadow.hpp"
#include "observers.hpp"
#include "results.hpp"
#include "run_folder.hpp"
#include "trainer.hpp"

namespace fovea {
namespace {

// A run goes on as it began; anything typed beside --resume may only repeat its configuration.
void check_unchanged(const RunConfig& before, const RunConfig& now) {
  const auto old_keys = all_keys(before), new_keys = all_keys(now);
  for (std::size_t i = 0; i < old_keys.size(); ++i) {
    const auto& [key, value] = old_keys[i];
    if (value == new_keys[i].second || may_change(key)) continue;
    fail_usage(
        fmt::format("--resume goes on with the run's own configuration, in which {} is '{}', not '{}'; leave "
                    "it out, or begin a new run",
                    key, value, new_keys[i].second));
  }
}

RunConfig resumed_config(const CommandLine& line, const RunFolder& folder) {
  const RunConfig stored = folder.config();
  RunConfig now = line.config(stored);
  resolve(now);
  RunConfig as_stored = stored;
  resolve(as_stored);
  check_unchanged(as_stored, now);
  return now;
}

// What the set decides: class names and their number.
void take_classes(RunConfig& config, const Dataset& dataset) {
  const auto found = static_cast<std::int64_t>(dataset.classes.size());
  if (config.classes > 0 && config.classes != found) {
    fail_usage(
        fmt::format("classes is {}, but {} has {}; leave it out", config.classes, dataset.source, found));
  }
  config.class_names = dataset.classes;
  config.classes = found;
  config.model.classes = found;
}

void print_plan(const RunConfig& config, const Dataset& dataset, const Split& split) {
  fmt::print(stderr, "{}: {} samples in {} classes; {} train, {} validation, {} held out ({})\n",
             dataset.source, dataset.samples.size(), dataset.classes.size(), split.train.size(),
             split.validation.size(), split.test.size(), split.origin);
  fmt::print(stderr, "{} on {} at {}x{}, batch {}, {} epochs, {}, {} threads\n", config.model.name,
             fmt::join(config.model.modalities, " and "), config.height, config.width, config.batch,
             config.epochs, config.dtype, config.threads);
}

int stopped(const RunFolder& folder, const Position& position) {
  fmt::print(stderr,
             "interrupted in epoch {} after step {}; the state is saved. To go on: fovea train --resume {}\n",
             position.epoch + 1, position.step, folder.path());
  return exit_interrupted;
}

// What the observers saw so far, however the training ended.
int stopped_with_observations(const RunFolder& folder, const Position& position, const RunConfig& config) {
  write_observations(folder);
  fmt::print(stderr, "{}", observations_text());
  if (!stopped_by_bound(config)) return stopped(folder, position);
  fail(fmt::format(
      "{}; the state after step {} is saved. To go on all the same: fovea train --resume {} --set "
      "ab_stop=false",
      shadows().first_passing(), position.step, folder.path()));
}

int run_training(const CommandLine& line, RunConfig config, const RunFolder& folder, bool resume,
                 bool profiled) {
  const Dataset dataset = open_data(config, config.data, true);
  take_classes(config, dataset);
  const Split split = make_split(dataset, split_options(config));
  Trainer trainer(config, dataset, split, folder);
  if (!resume) {
    folder.create();
    write_file_atomically(folder.file("config.toml"), config_toml(config));
  }
  print_plan(config, dataset, split);
  if (profiled) trainer.profile();
  if (resume && trainer.resume()) {
    fmt::print(stderr, "going on in epoch {} after step {}\n", trainer.position().epoch + 1,
               trainer.position().step);
  } else {
    trainer.begin();
  }
  if (!trainer.run()) return stopped_with_observations(folder, trainer.position(), config);
  const std::optional<Results> results = trainer.finish();
  if (!results) return stopped_with_observations(folder, trainer.position(), config);
  write_observations(folder);
  fmt::print("{}", line.json() ? metrics_json(results->metrics)
                               : metrics_table(results->metrics, config.model.name));
  fmt::print(stderr, "held-out part: {} samples ({}), {} checkpoint\n", split.test.size(), split.origin,
             results->checkpoint);
  if (!results->note.empty()) fmt::print(stderr, "note: {}\n", results->note);
  fmt::print(stderr, "{}", observations_text());
  fmt::print(stderr, "{}\nfiles and pictures: {} (report.html)\n", memory_line(config), folder.path());
  return exit_done;
}

}  // namespace

int command_train(const Arguments& arguments) {
  CommandLine line(
      "train", "Trains a model on a set, validates each epoch and evaluates the held-out part at the end.",
      "  fovea train --data eyes --model hm-vgg --epochs 30 -b 8 --output runs/first\n"
      "  fovea train --data grape --label prog_plr2 --modalities fundus,vf --fold 2 --output runs/grape2\n"
      "  fovea train --data eyes --set backbone=vgg13 --set mlrm.rates=1,3,5 --output runs/wide\n"
      "  fovea train --data eyes --ab ham=fused,composed --ledger --output runs/compared  two kernels, side "
      "by side\n"
      "  fovea train --resume runs/first                       goes on where it stopped, bit for bit\n"
      "  fovea train -c runs/first/config.toml --output again  repeats a run\n");
  std::string output, resume;
  bool profiled = false;
  line.option("-o,--output", output, "DIR", "the run's folder, new or empty");
  line.option("--resume", resume, "DIR", "go on with the run in this folder");
  line.flag("--profile", profiled,
            "profile 20 steps, from the second on: profile.json, trace.json, a section of the report");
  line.config_flags(KeyGroup::model);
  line.config_flags(KeyGroup::training);
  line.config_flags(KeyGroup::observers);
  if (!line.parse(arguments)) return exit_done;
  if (output.empty() == resume.empty()) {
    line.usage(output.empty() ? "give --output DIR for a new run, or --resume DIR to go on with one"
                              : "--output begins a run and --resume goes on with one: give one of them");
  }
  const RunFolder folder(resume.empty() ? output : resume);
  RunConfig config;
  if (resume.empty()) {
    config = line.config();
    resolve(config);
  } else {
    config = resumed_config(line, folder);
  }
  apply_to_process(config);
  start_observers(config);
  catch_interrupts();
  return run_training(line, std::move(config), folder, !resume.empty(), profiled);
}

}  // namespace fovea
