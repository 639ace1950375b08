// The table of keys, and TOML in and out. See run_config.hpp.
#include "run_config.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <system_error>

#include "data/csv.hpp"
#include "kernels/cuda/kernel_record_file.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/names.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t many = std::int64_t{1} << 40;

template <class T>
T parse_number(std::string_view key, std::string_view text, const char* what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    fail_usage(fmt::format("{} must be {}, not '{}'", key, what, text));
  }
  return value;
}

bool parse_bool(std::string_view key, std::string_view text) {
  for (const char* yes : {"true", "1", "on", "yes"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"false", "0", "off", "no"}) {
    if (text == no) return false;
  }
  fail_usage(fmt::format("{} must be true or false, not '{}'", key, text));
}

struct About {
  std::string name, flags, value, help;
  KeyGroup group = KeyGroup::training;
};

ConfigKey base_key(About about) {
  ConfigKey key;
  key.name = std::move(about.name);
  key.flags = std::move(about.flags);
  key.value = std::move(about.value);
  key.help = std::move(about.help);
  key.group = about.group;
  return key;
}

// In these makers, Place is a lambda from the config to the member.
template <auto Place>
ConfigKey integer(About about, std::int64_t low, std::int64_t high = many) {
  if (about.value.empty()) about.value = "N";
  ConfigKey key = base_key(std::move(about));
  key.get = [](const RunConfig& c) { return fmt::format("{}", Place(c)); };
  key.set = [name = key.name, low, high](RunConfig& c, std::string_view text) {
    const auto value = parse_number<std::int64_t>(name, text, "a whole number");
    if (value < low || value > high) {
      fail_usage(high < many ? fmt::format("{} must be {} to {}, not {}", name, low, high, value)
                             : fmt::format("{} must be at least {}, not {}", name, low, value));
    }
    Place(c) = value;
  };
  return key;
}

template <auto Place>
ConfigKey number(About about, double low, double high = infinity) {
  if (about.value.empty()) about.value = "X";
  ConfigKey key = base_key(std::move(about));
  key.get = [](const RunConfig& c) { return fmt::format("{}", Place(c)); };
  key.set = [name = key.name, low, high](RunConfig& c, std::string_view text) {
    const auto value = parse_number<double>(name, text, "a number");
    if (!(value >= low && value <= high) || std::isinf(value)) {
      fail_usage(high < infinity
                     ? fmt::format("{} must be {} to {}, not {}", name, low, high, text)
                     : fmt::format("{} must be a finite number of at least {}, not {}", name, low, text));
    }
    Place(c) = value;
  };
  return key;
}

template <auto Place>
ConfigKey boolean(About about) {
  ConfigKey key = base_key(std::move(about));
  key.is_switch = true;
  key.get = [](const RunConfig& c) { return std::string(Place(c) ? "true" : "false"); };
  key.set = [name = key.name](RunConfig& c, std::string_view text) { Place(c) = parse_bool(name, text); };
  return key;
}

template <auto Place>
ConfigKey text(About about, std::vector<std::string> choices = {}) {
  if (about.value.empty())
    about.value = choices.empty() ? "TEXT" : fmt::format("{}", fmt::join(choices, "|"));
  ConfigKey key = base_key(std::move(about));
  key.is_text = true;
  key.get = [](const RunConfig& c) { return Place(c); };
  key.set = [name = key.name, choices](RunConfig& c, std::string_view value) {
    if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end()) {
      fail_usage(fmt::format("{} cannot be '{}'{}", name, value, nearest_hint(value, choices)));
    }
    Place(c) = std::string(value);
  };
  return key;
}

// Items joined with commas; in TOML an array of strings.
template <auto Place>
ConfigKey list(About about) {
  ConfigKey key = base_key(std::move(about));
  key.is_list = true;
  key.get = [](const RunConfig& c) { return fmt::format("{}", fmt::join(Place(c), ",")); };
  key.set = [](RunConfig& c, std::string_view value) { Place(c) = split_cell(value, ','); };
  return key;
}

// Items that hold commas themselves, OP=FIRST,SECOND: each begins with what has a '='. In TOML one string.
ConfigKey pairs(About about) {
  ConfigKey key = base_key(std::move(about));
  key.is_list = key.is_text = true;
  key.get = [](const RunConfig& c) { return fmt::format("{}", fmt::join(c.ab, ",")); };
  key.set = [](RunConfig& c, std::string_view value) {
    c.ab.clear();
    for (const std::string& piece : split_cell(value, ',')) {
      if (c.ab.empty() || piece.find('=') != std::string::npos) {
        c.ab.push_back(piece);
      } else {
        c.ab.back() += "," + piece;
      }
    }
  };
  return key;
}

// A key of the model's that has a flag here.
template <const char* const& Name>
ConfigKey model_text(About about) {
  about.name = Name;
  about.group = KeyGroup::model;
  ConfigKey key = base_key(std::move(about));
  key.is_text = true;
  key.get = [](const RunConfig& c) {
    for (const auto& [name, value] : model_keys(c.model)) {
      if (name == Name) return value;
    }
    return std::string();
  };
  key.set = [](RunConfig& c, std::string_view value) { set_model_key(c.model, Name, value); };
  return key;
}
constexpr const char* modalities_name = "modalities";
constexpr const char* fusion_name = "fusion";

std::pair<std::int64_t, std::int64_t> parse_size(std::string_view text) {
  const std::size_t x = text.find('x');
  const auto height = parse_number<std::int64_t>("image_size", text.substr(0, x), "S or HxW in pixels");
  const auto width = x == std::string_view::npos
                         ? height
                         : parse_number<std::int64_t>("image_size", text.substr(x + 1), "S or HxW in pixels");
  if (std::min(height, width) < 1 || std::max(height, width) > 16384) {
    fail_usage(fmt::format("image_size must be 1 to 16384 pixels, not '{}'", text));
  }
  return {height, width};
}

ConfigKey image_size() {
  ConfigKey key = base_key({"image_size", "--image-size", "S|HxW", "what the network sees, in pixels (224)"});
  key.get = [](const RunConfig& c) {
    return c.height == c.width ? fmt::format("{}", c.height) : fmt::format("{}x{}", c.height, c.width);
  };
  key.set = [](RunConfig& c, std::string_view value) { std::tie(c.height, c.width) = parse_size(value); };
  return key;
}

// Written as exact bytes with the largest unit that divides them.
std::string limit_text(std::int64_t bytes) {
  if (bytes == 0) return "none";
  for (const auto& [unit, shift] : {std::pair("GiB", 30), std::pair("MiB", 20), std::pair("KiB", 10)}) {
    if (bytes % (std::int64_t{1} << shift) == 0) return fmt::format("{}{}", bytes >> shift, unit);
  }
  return fmt::format("{}", bytes);
}

ConfigKey memory_limit_key() {
  ConfigKey key = base_key({"memory_limit", "--memory-limit", "SIZE",
                            "the most that all tensors may take, as in 2GiB (none)", KeyGroup::everywhere});
  key.is_text = true;
  key.get = [](const RunConfig& c) { return limit_text(c.memory_limit); };
  key.set = [](RunConfig& c, std::string_view value) {
    c.memory_limit = value == "none" ? 0 : parse_bytes(std::string(value));
  };
  return key;
}

ConfigKey workspace_limit_key() {
  ConfigKey key = base_key({"workspace_limit", "--workspace-limit", "SIZE",
                            "the most that a plan of cuDNN or cublasLt may take besides, as in 512MiB (1GiB)",
                            KeyGroup::everywhere});
  key.is_text = true;
  key.get = [](const RunConfig& c) { return c.workspace_limit == 0 ? "0" : limit_text(c.workspace_limit); };
  key.set = [](RunConfig& c, std::string_view value) { c.workspace_limit = parse_bytes(std::string(value)); };
  return key;
}

ConfigKey seed() {
  ConfigKey key = base_key({"seed", "--seed", "N", "of everything random (0)", KeyGroup::everywhere});
  key.get = [](const RunConfig& c) { return fmt::format("{}", c.seed); };
  key.set = [](RunConfig& c, std::string_view value) {
    c.seed = parse_number<std::uint64_t>("seed", value, "a whole number of at least 0");
  };
  return key;
}

#define PLACE(member) \
  [](auto& c) -> auto& { return c.member; }

std::vector<ConfigKey> make_keys() {
  constexpr KeyGroup every = KeyGroup::everywhere, model = KeyGroup::model, beside = KeyGroup::observers;
  return {
      text<PLACE(model.name)>({"model", "--model", "NAME", "the network (hm-vgg)", model}, model_names()),
      model_text<modalities_name>({"", "--modalities", "A,B", "of fundus, oct, vf (fundus)"}),
      model_text<fusion_name>({"", "--fusion", "late|early", "how modalities meet (late)"}),
      integer<PLACE(classes)>({"classes", "", "", "0: as many as the set has", model}, 0, 1000),
      text<PLACE(weights)>({"weights", "--weights", "FILE", "safetensors to start from", model}),
      text<PLACE(data)>(
          {"data", "--data", "PATH", "a manifest, a folder of class folders, or GAMMA's layout"}),
      text<PLACE(label)>({"label", "--label", "COLUMN", "of the manifest (label)"}),
      list<PLACE(class_names)>({"class_names", "", "", "in label order; none: those of the set"}),
      integer<PLACE(fold)>({"fold", "--fold", "K",
                            "the fold held out; -1: the column 'split' where there is one, else fold 0"},
                           -1, 1000),
      integer<PLACE(folds)>({"folds", "--folds", "N", "folds made where the set names none (5)"}, 2, 1000),
      image_size(),
      boolean<PLACE(mirror_left_eyes)>({"mirror_left_eyes", "", "", "photographs and scans of left eyes"}),
      boolean<PLACE(augmented)>({"augment.on", "", "", "whether training images are changed at random"}),
      boolean<PLACE(augment.flips)>({"augment.flips", "", "", ""}),
      number<PLACE(augment.rotation)>({"augment.rotation", "", "", "degrees"}, 0, 180),
      number<PLACE(augment.crop)>({"augment.crop", "", "", "least part of a side"}, 0.01, 1),
      number<PLACE(augment.brightness)>({"augment.brightness", "", "", ""}, 0, 1),
      number<PLACE(augment.contrast)>({"augment.contrast", "", "", ""}, 0, 1),
      number<PLACE(augment.oct_shift)>({"augment.oct_shift", "", "", ""}, 0, 1),
      integer<PLACE(batch)>({"batch", "-b,--batch", "N", "samples a step (8)"}, 1, 65536),
      integer<PLACE(epochs)>({"epochs", "--epochs", "N", "(100)"}, 1, 1000000),
      number<PLACE(learning_rate)>({"lr", "--lr", "X", "the learning rate, at its peak (0.0001)"}, 0),
      text<PLACE(optimizer.name)>({"opt", "--opt", "", "the optimizer (adam)"}, {"adam", "adamw", "sgd"}),
      number<PLACE(optimizer.weight_decay)>({"weight_decay", "--weight-decay", "X", "(0)"}, 0),
      number<PLACE(optimizer.momentum)>({"momentum", "--momentum", "X", "of sgd (0.9)"}, 0, 1),
      number<PLACE(optimizer.beta1)>({"beta1", "", "", "of adam"}, 0, 1),
      number<PLACE(optimizer.beta2)>({"beta2", "", "", "of adam"}, 0, 1),
      number<PLACE(optimizer.eps)>({"eps", "", "", "of adam"}, 0, 1),
      number<PLACE(optimizer.clip_norm)>(
          {"clip", "--clip", "X", "the most that the gradients' norm may be; 0: no limit (0)"}, 0),
      text<PLACE(schedule)>({"sched", "--sched", "", "how the learning rate goes (constant)"},
                            {"constant", "cosine", "step"}),
      integer<PLACE(warmup_epochs)>(
          {"warmup", "--warmup", "N", "epochs in which the learning rate rises (0)"}, 0),
      integer<PLACE(step_epochs)>({"step_epochs", "", "", "of sched = step"}, 1),
      number<PLACE(step_gamma)>({"step_gamma", "", "", "of sched = step"}, 0, 1),
      number<PLACE(min_factor)>({"min_factor", "", "", "of sched = cosine"}, 0, 1),
      number<PLACE(label_smoothing)>({"label_smoothing", "--label-smoothing", "X", "(0)"}, 0, 1),
      text<PLACE(class_weights)>(
          {"class_weights", "--class-weights", "none|balanced|A,B,C", "of the loss (none)"}),
      text<PLACE(checkpoint)>({"checkpoint", "--checkpoint", "",
                               "what the final figures are of; auto: best, or last where the held-out part "
                               "is also what each epoch validates on (auto)"},
                              {"auto", "best", "last"}),
      text<PLACE(keep)>(
          {"keep", "--keep", "",
           "of a finished run's weights: all, to go on from, or those alone that its figures are of "
           "(all; of a comparison's runs evaluated)"},
          {"all", "evaluated"}),
      integer<PLACE(resamples)>({"resamples", "", "", "of the bootstrap intervals"}, 0, 1000000),
      boolean<PLACE(amp)>({"amp", "--amp", "",
                           "mixed precision: bf16 activations, fp32 weights (on a CUDA device, or with "
                           "--backend simt)",
                           model}),
      integer<PLACE(workers)>({"workers", "--workers", "N", "threads that decode images (1)"}, 1, 256),
      text<PLACE(device)>({"device", "--device", "", "(auto)", every}, {"auto", "cpu", "cuda"}),
      text<PLACE(dtype)>({"dtype", "--dtype", "", "(f32)", every}, {"f32", "bf16", "f64"}),
      list<PLACE(kernels)>({"kernels", "--kernel", "OP=NAME", "force a kernel (repeatable)", every}),
      text<PLACE(backend)>({"backend", "--backend", "", "prefer a backend for every op that has it", every},
                           {"none", "reference", "cpu", "onednn", "simt", "cudnn", "cuda"}),
      seed(),
      memory_limit_key(),
      workspace_limit_key(),
      boolean<PLACE(deterministic)>(
          {"deterministic", "--deterministic,!--nondeterministic", "",
           "of the plans of cuDNN and cublasLt, only those that repeat bit by bit (true)", every}),
      boolean<PLACE(tf32)>({"tf32", "--tf32", "",
                            "also plans of cuDNN and cublasLt that multiply f32 in TF32 (false)", every}),
      boolean<PLACE(debug)>({"debug", "--debug", "",
                             "look for writes outside tensors, holes and NaN after every kernel (slow)",
                             every}),
      pairs({"ab", "--ab", "OP=FIRST,SECOND",
             "run the first kernel, and the second on copies of the same inputs: how far they differ, and "
             "which "
             "is faster (repeatable)",
             beside}),
      integer<PLACE(ab_every)>({"ab_every", "--ab-every", "K", "of --ab, at every K-th step (1)", beside}, 1),
      number<PLACE(ab_bound)>({"ab_bound", "--ab-bound", "X",
                               "say at once where the relative difference passes this; 0: never (0)", beside},
                              0),
      boolean<PLACE(ab_stop)>(
          {"ab_stop", "--ab-stop", "", "end there, with exit 1 and the state saved", beside}),
      boolean<PLACE(ledger)>(
          {"ledger", "--ledger", "", "sample each kernel's rounding error against fp64", beside}),
      integer<PLACE(ledger_every)>(
          {"ledger_every", "--ledger-every", "K", "at every K-th step (100)", beside}, 1),
      integer<PLACE(threads)>({"threads", "--threads", "N", "0: all processors (0)", every}, 0, 4096),
  };
}

#undef PLACE

const ConfigKey* find_key(std::string_view name) {
  const auto keys = config_keys();
  const auto it = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& k) { return k.name == name; });
  return it == keys.end() ? nullptr : &*it;
}

bool is_model_key(std::string_view name) {
  const auto keys = model_keys(ModelConfig{});
  return std::any_of(keys.begin(), keys.end(), [&](const auto& k) { return k.first == name; });
}

[[noreturn]] void fail_unknown(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& [key, value] : all_keys(RunConfig{})) names.push_back(key);
  fail_usage(fmt::format("the configuration has no key '{}'{}", name, nearest_hint(name, names)));
}

// ---- TOML

std::string text_of(const std::string& key, const toml::node& node) {
  if (const auto* v = node.as_string()) return v->get();
  if (const auto* v = node.as_integer()) return fmt::format("{}", v->get());
  if (const auto* v = node.as_floating_point()) return fmt::format("{}", v->get());
  if (const auto* v = node.as_boolean()) return v->get() ? "true" : "false";
  if (const auto* v = node.as_array()) {
    std::vector<std::string> items;
    for (const toml::node& item : *v) items.push_back(text_of(key, item));
    return fmt::format("{}", fmt::join(items, ","));
  }
  fail_usage(fmt::format("{} has a value that no key takes", key));
}

// `at` names the file and the line in front of the sentence.
void read_table(RunConfig& config, const toml::table& table, const std::string& prefix,
                const std::string& path) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const auto* inner = node.as_table()) {
      read_table(config, *inner, name + ".", path);
      continue;
    }
    try {
      set_key(config, name, text_of(name, node));
    } catch (const Error& error) {
      fail_usage(fmt::format("{}, line {}: {}", path, node.source().begin.line, error.what()));
    }
  }
}

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += fmt::format("\\{}", c);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool is_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

// The model's keys come as text alone; what looks like a number or a list of numbers is written as one.
std::string toml_value(std::string_view text, const ConfigKey* key) {
  if (key != nullptr && key->is_text) return toml_string(text);
  const std::vector<std::string> items = split_cell(text, ',');
  if (key != nullptr && key->is_list) {
    std::vector<std::string> strings;
    for (const std::string& item : items) strings.push_back(toml_string(item));
    return fmt::format("[{}]", fmt::join(strings, ", "));
  }
  if (text == "true" || text == "false" || is_number(text)) return std::string(text);
  if (items.size() > 1 && std::all_of(items.begin(), items.end(), is_number)) {
    return fmt::format("[{}]", fmt::join(items, ", "));
  }
  return toml_string(text);
}

bool has_amp(const RunConfig& config, Device device) {
  return device == Device::cuda || config.backend == "simt";
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const fs::path full = fs::absolute(path, error);
  std::string text = error ? path : full.lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace

bool may_change(std::string_view key) {
  if (const ConfigKey* known = find_key(key); known != nullptr && known->group == KeyGroup::observers)
    return true;
  return key == "device" || key == "workers" || key == "memory_limit" || key == "debug" || key == "keep";
}

std::span<const ConfigKey> config_keys() {
  static const std::vector<ConfigKey> keys = make_keys();
  return keys;
}

void set_key(RunConfig& config, std::string_view key, std::string_view value) {
  if (const ConfigKey* own = find_key(key)) return own->set(config, value);
  if (!is_model_key(key)) fail_unknown(key);
  set_model_key(config.model, key, value);
}

std::vector<std::pair<std::string, std::string>> all_keys(const RunConfig& config) {
  std::vector<std::pair<std::string, std::string>> keys;
  for (const ConfigKey& key : config_keys()) {
    keys.emplace_back(key.name, key.get(config));
    if (key.name != fusion_name) continue;  // the rest of the model stands behind its last own key
    for (auto& [name, value] : model_keys(config.model)) {
      if (find_key(name) == nullptr && name != "name") keys.emplace_back(name, value);
    }
  }
  return keys;
}

void read_config(RunConfig& config, const std::string& path) {
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    fail_usage(line == 0 ? fmt::format("{}: {}", path, error.description())
                         : fmt::format("{}, line {}: {}", path, line, error.description()));
  }
  read_table(config, table, "", path);
}

std::string config_toml(const RunConfig& config) {
  std::string text = "# A run's whole configuration; `fovea train -c FILE --output DIR` repeats the run.\n";
  for (const auto& [name, value] : all_keys(config)) {
    text += fmt::format("{} = {}\n", name, toml_value(value, find_key(name)));
  }
  return text;
}

void set_assignment(RunConfig& config, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    fail_usage(fmt::format("--set {} is not KEY=VALUE, as in --set mlrm.rates=1,3,5", assignment));
  }
  set_key(config, trim(assignment.substr(0, equals)), trim(assignment.substr(equals + 1)));
}

void resolve(RunConfig& config) {
  if (!config.data.empty()) config.data = absolute(config.data);
  if (!config.weights.empty()) config.weights = absolute(config.weights);
  if (config.dtype == "bf16") {
    fail_usage("weights are f32 or f64; --amp computes in bf16 with f32 weights, on a CUDA device");
  }
  if (config.amp && config.dtype != "f32") {
    fail_usage(fmt::format("--amp keeps weights of f32, not {}; leave out one of the two", config.dtype));
  }
  config.model.dtype = parse_dtype(config.dtype);
  config.model.seed = config.seed;
  if (config.classes > 0) config.model.classes = config.classes;
}

void allow_without_amp(RunConfig& config) {
  if (has_amp(config, resolve_device(config.device)) || !config.amp) return;
  fmt::print(stderr, "note: the run was trained with --amp; here it is computed in f32\n");
  config.amp = false;
}

void apply_to_process(RunConfig& config, DeviceUse use) {
  const Device device = resolve_device(config.device, use);
  config.device = name_of(device);
  if (config.amp && !has_amp(config, device)) {
    fail_usage("--amp needs a CUDA device; on the CPU leave it out, or use --backend simt");
  }
  set_memory_limit(device, config.memory_limit);
  set_debug(config.debug);
  if (config.threads > 0) omp_set_num_threads(static_cast<int>(config.threads));
  config.threads = omp_get_max_threads();
  for (const std::string& assignment : config.kernels) selection().force(assignment);
  set_plan_limits(
      {.workspace = config.workspace_limit, .deterministic = config.deterministic, .tf32 = config.tf32});
  if (device == Device::cuda) {
    std::string complaint;
    load_kernel_record(device_info().name, complaint);
    if (!complaint.empty()) fmt::print(stderr, "{}\n", complaint);
  }
  if (config.backend != "none") selection().prefer(parse_backend(config.backend));
}

}  // namespace fovea
