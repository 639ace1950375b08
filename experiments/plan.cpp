// fovea plan: the memory of a step before it is run, what it is for, and the largest batch that a budget holds.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands.hpp"
#include "eval/table_text.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/memory.hpp"
#include "memory_plan.hpp"
#include "memory_steps.hpp"
#include "plan_page.hpp"

namespace fovea {
namespace {

using Json = nlohmann::ordered_json;

// Small, since they are run, and no one image alone, of which some layers make no statistics; but large enough that
// libraries choose the algorithms, and with them the workspace, of a batch of many: for 3 and 5 images they do not.
const std::vector<std::int64_t> measured_batches{2, 4, 8};
constexpr std::size_t shown_of_a_kind = 3;

struct PlanOptions {
  std::string budget, html;
  bool train = false, inference = false;
  std::int64_t budget_bytes = 0;
};

/// A build without CUDA has an emulated device, which this process then takes. Before anybody asks for the device.
void emulate_device(const RunConfig& config) {
  if (config.device != "cuda") return;
  setenv("FOVEA_EMULATE_DEVICE", "1", 1);
  std::string why_not;
  if (!cuda_available(&why_not))
    fail(fmt::format("{}; a build without CUDA (script/build) plans for a device without one", why_not));
}

/// At the end of a run its checkpoint is read whole, beside the weights, and put into our layout tensor by tensor: no more than
/// this. Only an optimizer without state leaves a step of small images below it.
std::int64_t checkpoint_bytes(const MemoryReplay& replay, const RunConfig& config,
                              const PlanOptions& options) {
  if (options.inference || config.device != "cpu") return 0;  // a device's run reads it on the host
  std::int64_t parameters = 0, largest = 0;
  for (std::size_t i = 0; i < replay.tensors.size(); ++i) {
    const LoggedTensor& t = replay.tensors[i];
    if (replay.from[i] > 0 || t.kind != MemoryKind::parameters) continue;
    parameters += t.bytes;
    largest = std::max(largest, t.bytes);
  }
  return 2 * parameters + largest + replay.workspace;
}

std::vector<std::string> notes_of(const RunConfig& config, const PlanOptions& options,
                                  const MemoryReplay& replay, bool emulated) {
  std::vector<std::string> notes;
  if (config.device == "cpu") {
    const std::int64_t checkpoint = checkpoint_bytes(replay, config, options);
    if (checkpoint > replay.peak) {
      notes.push_back(
          fmt::format("reading the checkpoint at the end of a run may take more than a step: up to {}",
                      bytes_text(checkpoint)));
    }
    return notes;
  }
  if (emulated) {
    notes.emplace_back(
        "no device here: kernels are those that a device without cuDNN would run, launched and not computed");
    notes.push_back(fmt::format(
        "plans of cuDNN and cublasLt may take up to --workspace-limit ({}) besides, one at a time",
        bytes_text(config.workspace_limit)));
  }
  if (!options.inference && config.data.empty()) {
    notes.emplace_back(
        "images travel with each batch here; --data PATH adds those of the set that train keeps on the "
        "device");
  }
  notes.emplace_back("the driver's own memory (the CUDA context, code, its pool's rounding) comes on top");
  return notes;
}

std::string title_of(const RunConfig& config, const PlanOptions& options) {
  std::string text = fmt::format("{}, {} of {} images at {}x{}, ", config.model.name,
                                 options.inference ? "inference" : "a training step", config.batch,
                                 config.height, config.width);
  if (!options.inference) text += config.optimizer.name + ", ";
  return text +
         fmt::format("{}{} on {}", config.dtype, config.amp ? " with bf16 activations" : "", config.device);
}

/// The largest that are alive at the peak, the largest first.
std::vector<std::size_t> largest_at_peak(const MemoryReplay& replay) {
  std::vector<std::size_t> alive;
  for (std::size_t i = 0; i < replay.tensors.size(); ++i) {
    if (replay.alive_at_peak(i)) alive.push_back(i);
  }
  std::stable_sort(alive.begin(), alive.end(), [&](std::size_t a, std::size_t b) {
    return replay.tensors[a].bytes > replay.tensors[b].bytes;
  });
  return alive;
}

std::string life_of(const MemoryReplay& replay, std::size_t tensor) {
  constexpr std::size_t width = 24;
  const std::size_t events = replay.in_use.size();
  std::string bar;
  for (std::size_t i = 0; i < width; ++i) {
    const std::size_t from = i * events / width, until = (i + 1) * events / width;
    const bool alive = replay.from[tensor] < std::max(until, from + 1) && replay.until[tensor] > from;
    const bool peak = from <= replay.peak_at && replay.peak_at < until;
    bar += alive ? (peak ? '#' : '=') : (peak ? '|' : '.');
  }
  return bar;
}

std::string kinds_table(const MemoryReplay& replay) {
  TextTable table{{{"what for", false}, {"at the peak"}, {"share"}}, {}};
  for (std::size_t k = 0; k < memory_kinds; ++k) {
    const std::int64_t bytes = replay.in_use[replay.peak_at][k];
    if (bytes == 0) continue;
    table.rows.push_back(
        {name_of(static_cast<MemoryKind>(k)), bytes_text(bytes),
         fmt::format("{:.1f} %", 100.0 * static_cast<double>(bytes) / static_cast<double>(replay.peak))});
  }
  return terminal_table(table);
}

// A few of each kind, so that parameters, which are many and alike, leave room for the others.
std::string tensors_table(const MemoryReplay& replay) {
  TextTable table{
      {{"bytes"}, {"tensor", false}, {"what for", false}, {"of", false}, {"alive (#: the peak)", false}}, {}};
  const std::vector<std::size_t> alive = largest_at_peak(replay);
  std::array<std::size_t, memory_kinds> shown{};
  for (const std::size_t i : alive) {
    const LoggedTensor& t = replay.tensors[i];
    if (shown[static_cast<std::size_t>(t.kind)]++ >= shown_of_a_kind) continue;
    table.rows.push_back({bytes_text(t.bytes), fmt::format("{} {}", to_string(t.shape), name_of(t.dtype)),
                          name_of(t.kind), words_of(t), life_of(replay, i)});
  }
  if (replay.workspace > 0) {
    table.rows.push_back({bytes_text(replay.workspace), "a buffer", name_of(MemoryKind::workspace),
                          replay.workspace_by, "always"});
  }
  std::string text = terminal_table(table);
  if (alive.size() > table.rows.size())
    text += fmt::format("  and {} more\n", alive.size() - table.rows.size());
  return text;
}

Json json_of(const MemoryPlan& plan, const MemoryReplay& replay, const RunConfig& config,
             const PlanOptions& options, const std::vector<std::string>& notes) {
  Json kinds = Json::object(), tensors = Json::array();
  for (std::size_t k = 0; k < memory_kinds; ++k)
    kinds[name_of(static_cast<MemoryKind>(k))] = replay.in_use[replay.peak_at][k];
  for (const std::size_t i : largest_at_peak(replay)) {
    const LoggedTensor& t = replay.tensors[i];
    tensors.push_back({{"bytes", t.bytes},
                       {"shape", to_string(t.shape)},
                       {"dtype", std::string(name_of(t.dtype))},
                       {"kind", name_of(t.kind)},
                       {"of", words_of(t)},
                       {"from", replay.from[i]},
                       {"until", std::min(replay.until[i], replay.in_use.size())}});
  }
  Json json{{"model", config.model.name},
            {"step", options.inference ? "inference" : "training"},
            {"batch", config.batch},
            {"device", config.device},
            {"height", config.height},
            {"width", config.width},
            {"peak_bytes", replay.peak},
            {"peak_bytes_of_one_more", plan.peak(config.batch + 1)},
            {"checkpoint_bytes", checkpoint_bytes(replay, config, options)},
            {"peak_phase", name_of(replay.phases[replay.peak_at])},
            {"kinds", kinds},
            {"workspace_by", replay.workspace_by},
            {"measured_batches", measured_batches},
            {"same_sequence", plan.same_sequence()},
            {"exact", plan.exact()},
            {"events", replay.in_use.size()},
            {"tensors", tensors},
            {"notes", notes}};
  if (options.budget_bytes > 0) {
    json["budget_bytes"] = options.budget_bytes;
    json["largest_batch"] = plan.largest_batch(options.budget_bytes);
  }
  return json;
}

std::string budget_line(const MemoryPlan& plan, std::int64_t budget) {
  const std::int64_t most = plan.largest_batch(budget);
  if (most == 0) {
    return fmt::format("not even one image fits into {}: it needs {}\n", bytes_text(budget),
                       bytes_text(plan.peak(1)));
  }
  return fmt::format("largest batch within {}: {} ({}); {} images need {}\n", bytes_text(budget), most,
                     bytes_text(plan.peak(most)), most + 1, bytes_text(plan.peak(most + 1)));
}

void check_flags(const CommandLine& line, const RunConfig& config, PlanOptions& options) {
  if (options.train && options.inference) line.usage("--train and --inference exclude each other");
  if (config.memory_limit > 0)
    line.usage("a plan is made of small steps, without --memory-limit; what must fit is --budget");
  if (options.budget.empty()) return;
  options.budget_bytes = parse_bytes(options.budget);
  if (options.budget_bytes == 0) line.usage("--budget must be more than 0 bytes");
}

}  // namespace

int command_plan(const Arguments& arguments) {
  CommandLine line(
      "plan",
      "The memory of a step before it is run: its peak, what it is for, and the largest batch that fits.",
      "  fovea plan --model hm-vgg -b 32\n"
      "  fovea plan --model densenet161 -b 16 --budget 8GiB        and the largest batch that fits\n"
      "  fovea plan --model hm-vgg -b 64 --device cuda --amp       needs no device\n"
      "  fovea plan --model resnet50 -b 256 --inference --html plan.html\n");
  PlanOptions options;
  line.option("--budget", options.budget, "SIZE", "what must not be passed, as in 16GiB: which batch fits");
  line.flag("--train", options.train, "a training step (as without the flag)");
  line.flag("--inference", options.inference, "a forward alone, as evaluate and predict run it");
  line.option("--html", options.html, "FILE", "a page with the bytes over the step's allocations");
  line.config_flags(KeyGroup::model);
  line.config_flags(KeyGroup::training);
  if (!line.parse(arguments)) return exit_done;
  RunConfig config = line.config();
  check_flags(line, config, options);
  resolve(config);
  emulate_device(config);
  apply_to_process(config);
  const bool emulated = config.device == "cuda" && device_api::is_emulated();
  const MemoryPlan plan(
      log_steps(config, measured_batches, {.inference = options.inference, .without_threads = emulated}));
  const MemoryReplay replay = plan.replay(config.batch);
  const std::vector<std::string> notes = notes_of(config, options, replay, emulated);
  if (!options.html.empty())
    write_file_atomically(options.html,
                          plan_page(title_of(config, options), plan, replay, options.budget_bytes, notes));
  if (line.json()) {
    fmt::print("{}\n", json_of(plan, replay, config, options, notes).dump(1));
    return exit_done;
  }
  fmt::print("{}\npeak: {} ({})\n{}\n\n{}\n{}", title_of(config, options), bytes_text(replay.peak),
             name_of(replay.phases[replay.peak_at]), plan.basis(), kinds_table(replay),
             tensors_table(replay));
  if (options.budget_bytes > 0) fmt::print("\n{}", budget_line(plan, options.budget_bytes));
  if (!options.inference) {
    fmt::print("\nwith one image more: {} (train joins a last batch of one image to the one before)\n",
               bytes_text(plan.peak(config.batch + 1)));
  }
  for (const std::string& note : notes) fmt::print("note: {}\n", note);
  return exit_done;
}

}  // namespace fovea
