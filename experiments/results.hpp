// What a finished training leaves beside its weights: figures, predictions, pictures, a page, a stamp.
#pragma once

#include <map>
#include <set>
#include <string>

#include "batches.hpp"
#include "data/split.hpp"
#include "eval/metrics.hpp"
#include "run_folder.hpp"
#include "run_pictures.hpp"

namespace fovea {

/// Which kernels ran, by primitive.
using KernelsUsed = std::map<std::string, std::set<std::string>>;

/// Device memory of a run's first step, in bytes: the most that lived at once, and what a step needs. Gradients come as
/// what was saved goes, so the sum may be the larger one.
struct StepMemory {
  std::int64_t parameters = 0, gradients = 0, optimizer = 0;
  std::int64_t saved = 0;   // by the forward for the backward
  std::int64_t images = 0;  // that stay on the device
  std::int64_t peak = 0;    // of all tensors, the kernels' scratch included; 0: no step was made
  std::int64_t sum() const { return parameters + gradients + optimizer + saved + images; }
  std::string text() const;
};

struct Results {
  Metrics metrics;
  std::string checkpoint;  // best | last
  StepMemory memory;
  std::int64_t parameters = 0;
  double flops_per_sample = 0;  // of inference, mean over the held-out part
  RunPictures pictures;
  std::string note;  // what a reader must know about these figures; empty: nothing
};

/// The checkpoint that `wanted` (auto, best, last) comes to: auto takes the best, but the last where the
/// held-out part is what "best" was chosen by.
std::string resolve_checkpoint(const std::string& wanted, const Split& split);

/// One sentence where the best epoch was chosen by the very samples that the figures are of, else empty.
std::string checkpoint_note(const std::string& checkpoint, const Split& split);

SplitOptions split_options(const RunConfig& config);
Metrics metrics_of(const Outcome& outcome, const Dataset& dataset, const RunConfig& config);

/// metrics.json predictions.csv stamp.json maps.jpg curves.png confusion.png report.html, in an order in which the last one says
/// that all are there.
inline constexpr const char* last_of_results = "report.html";
void write_results(const RunFolder& folder, const RunConfig& config, const Dataset& dataset,
                   const Split& split, const Outcome& outcome, const Results& results,
                   const KernelsUsed& kernels);

/// stamp.json of what is no single run: commit, date, machine, device.
std::string machine_stamp_json(const RunConfig& config);

/// "peak memory: tensors 812 MiB, process 1020 MiB".
std::string memory_line(const RunConfig& config);

}  // namespace fovea
