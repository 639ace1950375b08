// RunConfig: everything that determines a run, and the keys under which it is typed and written.
//
// Layers, each over the one before: defaults, a file (-c FILE.toml), flags, --set key=value. What results is
// written to config.toml of the run, with every key, so that `fovea train -c config.toml` repeats it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/augment.hpp"
#include "kernels/device_choice.hpp"
#include "models/zoo.hpp"
#include "nn/optimizer.hpp"
#include "nn/schedule.hpp"

namespace fovea {

struct RunConfig {
  ModelConfig model;  // its dtype, seed and classes are this run's

  std::string data;                        // absolute path
  std::string label = "label";             // column of the manifest
  std::vector<std::string> class_names;    // empty: those of the set
  std::int64_t classes = 0;                // 0: as many as the set has; without a set 3
  std::int64_t fold = -1;                  // the part held out; -1: the split as given, or fold 0
  std::int64_t folds = 5;                  // parts made where the set has none
  std::int64_t height = 224, width = 224;  // what the network sees
  bool mirror_left_eyes = true;            // so that all eyes look like right ones
  bool augmented = true;                   // whether training images are changed at random
  AugmentOptions augment;

  std::int64_t batch = 8;
  std::int64_t epochs = 100;
  double learning_rate = 1e-4;
  OptimizerOptions optimizer;
  std::string schedule = "constant";  // constant | cosine | step
  std::int64_t warmup_epochs = 0;
  std::int64_t step_epochs = 30;  // schedule "step": multiplied by step_gamma every so many epochs
  double step_gamma = 0.1;
  double min_factor = 0;  // schedule "cosine": ends at this part of the learning rate
  double label_smoothing = 0;
  std::string class_weights = "none";  // none | balanced | one number for each class
  std::string weights;                 // pretrained weights to start from; empty: none
  std::string checkpoint = "auto";     // of the final metrics: auto | best | last
  std::string keep = "all";            // of a finished run's weights: all | evaluated
  std::int64_t resamples = 2000;       // of the bootstrap

  std::uint64_t seed = 0;
  std::string dtype = "f32";
  std::string device = "auto";
  bool amp = false;                                      // bf16 activations, f32 weights
  std::int64_t threads = 0;                              // 0: all processors
  std::int64_t workers = 1;                              // decoding threads
  std::vector<std::string> kernels;                      // forced, OP=NAME
  std::string backend = "none";                          // preferred
  std::int64_t memory_limit = 0;                         // bytes that all tensors may come to; 0: none
  std::int64_t workspace_limit = std::int64_t{1} << 30;  // bytes, of a plan of cuDNN or cublasLt
  bool deterministic = true;                             // of their plans, only those that repeat bit by bit
  bool tf32 = false;                                     // also those that multiply f32 in TF32
  bool debug = false;  // red zones, poisoned outputs, NaN checks after every kernel

  // Observers: what is computed beside the run, without a trace in it (observers.hpp).
  std::vector<std::string> ab;      // OP=FIRST,SECOND
  std::int64_t ab_every = 1;        // steps
  double ab_bound = 0;              // 0: none
  bool ab_stop = false;             // where the bound is passed
  bool ledger = false;              // rounding errors against fp64
  std::int64_t ledger_every = 100;  // steps
};

/// Which commands have a flag for a key.
enum class KeyGroup : std::uint8_t {
  everywhere,  // device, dtype, kernels, seed, threads
  model,       // what the network is
  training,    // all else
  observers,   // what is computed beside the run
};

/// One key as text.
struct ConfigKey {
  std::string name;
  std::string flags;  // "-b,--batch"; empty: reached by --set and files alone
  std::string value;  // what stands for the value in --help
  std::string help;
  KeyGroup group = KeyGroup::training;
  bool is_switch = false;  // the flag alone means true
  bool is_text = false;    // written in quotes whatever it looks like
  bool is_list = false;    // the flag may be repeated and adds to the list
  std::function<std::string(const RunConfig&)> get;
  std::function<void(RunConfig&, std::string_view)> set;
};

/// Keys that change how fast a run is, what is looked at beside it and, of the device, the order of its sums, but not what
/// it is.
bool may_change(std::string_view key);

/// This program's own keys; those of the model come beside them.
std::span<const ConfigKey> config_keys();

/// UsageError for an unknown key (the nearest are named) or a bad value.
void set_key(RunConfig& config, std::string_view key, std::string_view value);

/// Every key with its value as text, in the order of config.toml.
std::vector<std::pair<std::string, std::string>> all_keys(const RunConfig& config);

/// Lays a file over the config. UsageError naming file and line.
void read_config(RunConfig& config, const std::string& path);
std::string config_toml(const RunConfig& config);

/// "--set key=value". UsageError where there is no '='.
void set_assignment(RunConfig& config, std::string_view assignment);

/// What cannot be said of one key alone: paths made absolute; dtype, seed and class count passed on to the
/// model; what only a CUDA device can do refused.
void resolve(RunConfig& config);

/// For a run that is only looked at: where this machine has no mixed precision, f32 takes its place, and stderr says
/// so.
void allow_without_amp(RunConfig& config);

/// Makes this process the one that the config wants (device, memory, debug mode, threads, kernels), and puts into
/// the config what "auto" came to. Before any tensor is made.
void apply_to_process(RunConfig& config, DeviceUse use = DeviceUse::whole_model);

}  // namespace fovea
