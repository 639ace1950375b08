// fovea compare: models trained and evaluated alike on one set, and the table of them.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "batches.hpp"
#include "child_process.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "comparison_plan.hpp"
#include "comparison_runs.hpp"
#include "eval/comparison.hpp"
#include "eval/comparison_report.hpp"
#include "input_picture.hpp"
#include "interrupts.hpp"
#include "kernels/device_choice.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "results.hpp"
#include "run_folder.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_hard_samples = 8;
constexpr int sheet_side = 900;  // pixels

// What train says of itself in stamp.json.
void take_stamp(const std::string& path, ComparedRow& row) {
  std::ifstream in(path);
  const nlohmann::json stamp = nlohmann::json::parse(in, nullptr, false);
  if (stamp.is_discarded())
    fail(fmt::format("{} is damaged; remove its folder to train that run anew", path));
  row.parameters = stamp.value("parameters", std::int64_t{0});
  row.gflops = stamp.value("gflops_per_sample", 0.0);
}

// A run as its folder tells it.
ComparedRun collect_run(const std::string& folder, const PlannedRun& planned, const std::string& failure) {
  ComparedRun run;
  run.fold = planned.fold;
  run.seed = planned.seed;
  run.folder = "runs/" + planned.name;
  run.failure = failure;
  run.epochs = read_epoch_log(fmt::format("{}/{}/metrics.jsonl", folder, run.folder));
  for (const EpochRow& epoch : run.epochs) {
    run.seconds += epoch.seconds;
    run.images_per_s += epoch.images_per_s / static_cast<double>(run.epochs.size());
  }
  return run;
}

using SeedPredictions = std::map<std::uint64_t, std::vector<Prediction>>;

// Pools what the folds of a row predict; a seed that lacks a fold is left out.
SeedPredictions collect_row(const ComparisonPlan& plan, std::size_t r, const std::string& folder,
                            const std::vector<std::string>& failures, const std::vector<std::string>& classes,
                            ComparedRow& row) {
  SeedPredictions pooled;
  std::map<std::uint64_t, bool> whole;
  for (std::size_t i = 0; i < plan.runs.size(); ++i) {
    const PlannedRun& planned = plan.runs[i];
    if (planned.row != r) continue;
    ComparedRun& run = row.runs.emplace_back(collect_run(folder, planned, failures[i]));
    const RunFolder files(fmt::format("{}/{}", folder, run.folder));
    bool& complete = whole.emplace(planned.seed, true).first->second;
    if (!files.has(last_of_results) || !run.failure.empty()) {
      complete = false;
      continue;
    }
    const std::vector<Prediction> predictions = read_predictions(files.file("predictions.csv"));
    run.metrics = compute_metrics(predictions, classes, {.resamples = 0});
    std::vector<Prediction>& all = pooled[planned.seed];
    all.insert(all.end(), predictions.begin(), predictions.end());
    take_stamp(files.file("stamp.json"), row);
    if (row.maps.empty() && files.has("maps.jpg"))
      row.maps = picture_bytes(read_image(files.file("maps.jpg")), sheet_side);
  }
  std::erase_if(pooled, [&](const auto& seed) { return !whole[seed.first]; });
  for (const auto& [seed, predictions] : pooled) row.predictions.push_back(predictions);
  return pooled;
}

// Of the seeds that both have.
std::optional<PairedDifference> difference_of(const SeedPredictions& row, const SeedPredictions& reference,
                                              const std::vector<std::string>& classes,
                                              const BootstrapOptions& bootstrap) {
  std::vector<std::vector<Prediction>> ours, theirs;
  for (const auto& [seed, predictions] : row) {
    const auto found = reference.find(seed);
    if (found == reference.end()) continue;
    ours.push_back(predictions);
    theirs.push_back(found->second);
  }
  if (ours.empty()) return std::nullopt;
  return paired_difference(ours, theirs, classes, bootstrap);
}

void correct_for_number(std::vector<ComparedRow>& rows) {
  std::vector<double> p;
  for (const ComparedRow& row : rows) {
    if (row.difference) p.push_back(row.difference->p);
  }
  const std::vector<double> corrected = holm(p);
  std::size_t next = 0;
  for (ComparedRow& row : rows) {
    if (row.difference) row.difference->p_corrected = corrected[next++];
  }
}

std::vector<std::string> notes_of(const Comparison& c, const ComparisonPlan& plan, const SideBySide& how) {
  std::vector<std::string> notes = plan.notes;
  notes.push_back(fmt::format(
      "Every sample was predicted by a network that had not seen its subject; the predictions of all folds "
      "are pooled{}. "
      "Intervals are 95 % percentile bootstraps over subjects.",
      c.rows.front().runs.size() > 0 && std::any_of(c.rows.begin(), c.rows.end(),
                                                    [](const auto& r) { return r.predictions.size() > 1; })
          ? ", and figures are means over the seeds"
          : ""));
  std::string test = "McNemar's exact test";
  for (const ComparedRow& row : c.rows) {
    if (row.difference && row.difference->test != "McNemar") test = "a paired bootstrap over subjects";
  }
  notes.push_back(fmt::format(
      "p is of the difference in accuracy from '{}', by {}, corrected by Holm for the number of rows; "
      "* marks p below 0.05. A row without it cannot be told from the reference by these data.",
      c.reference, test));
  notes.push_back(fmt::format("Times and rates were read with {} training{} at a time, {} thread{} each.",
                              how.jobs, how.jobs == 1 ? "" : "s", how.threads, how.threads == 1 ? "" : "s"));
  if (c.classes.size() == 3) notes.emplace_back(paper_note);
  return notes;
}

std::vector<std::pair<std::string, std::string>> facts_of(const RunConfig& shared, const Dataset& dataset,
                                                          const ComparisonPlan& plan) {
  std::size_t folds = 0, seeds = 0;
  for (const PlannedRun& run : plan.runs) {
    folds += run.row == 0 && run.seed == plan.runs.front().seed;
    seeds += run.row == 0 && run.fold == plan.runs.front().fold;
  }
  return {{"Set", dataset.source},
          {"Samples", fmt::format("{}", dataset.samples.size())},
          {"Classes", fmt::format("{}", fmt::join(dataset.classes, ", "))},
          {"Folds and seeds", fmt::format("{} and {}", folds, seeds)},
          {"Image size", fmt::format("{} x {}", shared.height, shared.width)},
          {"Training", fmt::format("{} epochs, batch {}, {} at {}, {}", shared.epochs, shared.batch,
                                   shared.optimizer.name, shared.learning_rate, shared.schedule)},
          {"Device", shared.device}};
}

// What any row sees.
std::vector<Modality> modalities_of(const std::vector<ComparedRow>& rows) {
  std::set<Modality> seen;
  for (const ComparedRow& row : rows) {
    for (const auto& [key, value] : row.settings) {
      if (key != "modalities") continue;
      for (const Modality modality : parse_modalities(value)) seen.insert(modality);
    }
  }
  return {seen.begin(), seen.end()};
}

// In the size that the rows share.
void add_pictures(HardSample& hard, const Dataset& dataset, const RunConfig& shared,
                  const std::vector<Modality>& modalities) {
  const auto sample = std::ranges::find_if(dataset.samples, [&](const Sample& s) { return s.id == hard.id; });
  InputSpec spec = input_spec(shared);
  for (const Modality modality : modalities) {
    if (!sample->has(modality)) continue;
    spec.modalities = {modality};
    const Image picture = picture_of(load_input(*sample, modality, spec), modality);
    hard.pictures.push_back({std::string(name_of(modality)), picture_bytes(picture)});
  }
}

Comparison collect(const ComparisonPlan& plan, const RunConfig& shared, const Dataset& dataset,
                   const SideBySide& how, const std::string& folder,
                   const std::vector<std::string>& failures) {
  Comparison c;
  c.title = fmt::format("{} models on {}", plan.rows.size(), fs::path(shared.data).filename().string());
  c.reference = plan.reference;
  c.classes = dataset.classes;
  c.facts = facts_of(shared, dataset, plan);
  c.rows = plan.rows;
  c.config = config_toml(shared);
  c.stamp = machine_stamp_json(shared);
  const BootstrapOptions bootstrap{.resamples = static_cast<int>(shared.resamples), .seed = shared.seed};
  std::vector<SeedPredictions> pooled;
  for (std::size_t r = 0; r < c.rows.size(); ++r) {
    pooled.push_back(collect_row(plan, r, folder, failures, c.classes, c.rows[r]));
    if (!pooled.back().empty())
      c.rows[r].metrics = compute_seed_metrics(c.rows[r].predictions, c.classes, bootstrap);
  }
  const auto reference =
      std::find_if(c.rows.begin(), c.rows.end(), [&](const auto& row) { return row.name == c.reference; });
  const SeedPredictions& theirs = pooled[static_cast<std::size_t>(reference - c.rows.begin())];
  for (std::size_t r = 0; r < c.rows.size(); ++r) {
    if (c.rows[r].name != c.reference)
      c.rows[r].difference = difference_of(pooled[r], theirs, c.classes, bootstrap);
  }
  correct_for_number(c.rows);
  c.hardest = hardest_samples(c.rows, c.classes.size(), most_hard_samples);
  for (HardSample& sample : c.hardest) add_pictures(sample, dataset, shared, modalities_of(c.rows));
  c.notes = notes_of(c, plan, how);
  return c;
}

void write_comparison(const Comparison& comparison, const std::string& folder) {
  write_file_atomically(folder + "/comparison.md", comparison_markdown(comparison));
  write_file_atomically(folder + "/comparison.csv", comparison_csv(comparison));
  write_file_atomically(folder + "/comparison.json", comparison_json(comparison));
  write_file_atomically(folder + "/stamp.json", comparison.stamp);
  write_comparison_report(folder, comparison);
}

void check_output(const CommandLine& line, const std::string& output) {
  if (output.empty()) line.usage("give a folder for the comparison: --output DIR");
  std::error_code error;
  const bool ours = fs::exists(output + "/config.toml", error) || fs::exists(output + "/.lock", error);
  if (fs::exists(output, error) && !ours && !fs::is_empty(output, error))
    fail_usage(fmt::format("{} is neither empty nor a comparison; name another --output", output));
  fs::create_directories(output, error);
  if (error) fail(fmt::format("{}: cannot be made: {}", output, error.message()));
}

// What was asked for, beside the configuration, so that going on takes nothing but the folder.
void store_options(const ComparisonOptions& options, const std::string& folder) {
  const nlohmann::ordered_json json{{"models", options.models},       {"modalities", options.modality_sets},
                                    {"seeds", options.seeds},         {"folds_given", options.folds_given},
                                    {"ablations", options.ablations}, {"for", options.settings},
                                    {"reference", options.reference}};
  write_file_atomically(folder + "/comparison.options.json", json.dump(2) + "\n");
}

// What was typed now goes before what was stored.
void recall_options(const CommandLine& line, const std::string& folder, ComparisonOptions& options) {
  const std::string path = folder + "/comparison.options.json";
  if (!fs::exists(path)) return;
  std::ifstream in(path);
  try {
    const nlohmann::json json = nlohmann::json::parse(in);
    if (!line.given("--models")) options.models = json.at("models");
    if (!line.given("--modalities"))
      options.modality_sets = json.at("modalities").get<std::vector<std::string>>();
    if (!line.given("--seeds")) options.seeds = json.at("seeds");
    if (!line.given("--folds")) options.folds_given = json.at("folds_given");
    if (!line.given("--ablations")) options.ablations = json.at("ablations");
    if (!line.given("--for")) options.settings = json.at("for").get<std::vector<std::string>>();
    if (!line.given("--reference")) options.reference = json.at("reference");
  } catch (const nlohmann::json::exception& error) {
    fail(fmt::format("{} is damaged ({}); remove it and give the flags again", path, error.what()));
  }
}

// Where a comparison is gone on with, --data may be left out.
RunConfig shared_config(const CommandLine& line, const std::string& output) {
  RunConfig base;
  base.keep = "evaluated";  // forty trainings with all their states fill a disk
  const std::string stored = output + "/config.toml";
  if (fs::exists(stored)) read_config(base, stored);
  RunConfig config = line.config(base);
  if (config.data.empty()) line.usage("give a set: --data PATH");
  resolve(config);
  return config;
}

}  // namespace

int command_compare(const Arguments& arguments) {
  CommandLine line(
      "compare",
      "Trains and evaluates models alike, over all folds of a set, and ends with one table of them.",
      "  fovea compare --data gamma --models all --folds 5 --epochs 60 --output compared\n"
      "  fovea compare --output compared                       goes on where it stopped\n"
      "  fovea compare --data eyes --models hm-vgg --modalities fundus --modalities fundus,vf --output "
      "fields\n"
      "  fovea compare --data eyes --models hm-vgg --modalities fundus --ablations --seeds 3 --output "
      "ablations\n"
      "  fovea compare --data eyes --models resnet18,vgg11 --for vgg11:lr=0.00005 --jobs 2 --output two\n");
  ComparisonOptions options;
  std::string output;
  std::int64_t jobs = 0;
  line.option("-o,--output", output, "DIR", "the comparison's folder, new, empty, or one to go on with");
  line.option("--models", options.models, "all|A,B,C", "all: the eight of the paper's table (all)");
  line.options("--modalities", options.modality_sets, "A,B",
               "what hm-vgg sees, a row for each time it is given (every set of what the data have)");
  line.option("--seeds", options.seeds, "N", "trainings of each row on each fold (1)");
  line.flag("--ablations", options.ablations,
            "also hm-vgg without HAM, MLRM or the shortcut, and with other forms of them");
  line.options("--for", options.settings, "MODEL:KEY=VALUE",
               "a setting of one model's rows alone (repeatable)");
  line.option("--reference", options.reference, "ROW",
              "the row that others are tested against (hm-vgg fundus)");
  line.option("--jobs", jobs, "N",
              "trainings side by side; 0: as many as processors, memory and devices carry (0)");
  line.config_flags(KeyGroup::training);
  if (!line.parse(arguments)) return exit_done;
  if (options.seeds < 1 || options.seeds > 1000)
    line.usage(fmt::format("--seeds {} is not 1 to 1000", options.seeds));
  if (jobs < 0 || jobs > 1024) line.usage(fmt::format("--jobs {} is not 0 to 1024", jobs));
  options.folds_given = line.given("--folds");
  check_output(line, output);
  const FolderLock lock(output, 60);
  recall_options(line, output, options);
  RunConfig shared = shared_config(line, output);
  const Dataset dataset = open_data(shared, shared.data, true);
  const ComparisonPlan plan = plan_comparison(shared, dataset, options);
  shared.device = name_of(resolve_device(shared.device));
  const SideBySide how = side_by_side(jobs, shared.threads, shared.device == "cuda");
  const std::vector<RunState> states = states_of(plan, shared, output);
  store_options(options, output);
  write_file_atomically(output + "/config.toml", config_toml(shared));
  fmt::print(stderr, "{}: {} rows, {} trainings, {} at a time with {} thread{} each\n", dataset.source,
             plan.rows.size(), plan.runs.size(), how.jobs, how.threads, how.threads == 1 ? "" : "s");
  catch_interrupts();
  std::vector<std::string> failures;
  const bool complete = train_all(plan, shared, states, how, output, failures);
  const Comparison comparison = collect(plan, shared, dataset, how, output, failures);
  write_comparison(comparison, output);
  if (!complete) {
    fmt::print(stderr, "interrupted; every training has saved its state. To go on: the same command again\n");
    return exit_interrupted;
  }
  fmt::print("{}", line.json() ? comparison_json(comparison) : comparison_text(comparison));
  fmt::print(stderr, "tables: {0}/comparison.md, .csv, .json; a page: {0}/report.html\n", output);
  return std::any_of(failures.begin(), failures.end(), [](const std::string& f) { return !f.empty(); })
             ? exit_failed
             : exit_done;
}

}  // namespace fovea
