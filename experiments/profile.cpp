// fovea profile: where the time of a step goes, against the floors that this machine's measured ceilings set.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <random>

#include "autograd/engine.hpp"
#include "batches.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/names.hpp"
#include "nn/optimizer.hpp"
#include "training_profile.hpp"

namespace fovea {
namespace {

constexpr std::int64_t most_steps = 200;

struct ProfileOptions {
  bool train = false;
  std::int64_t steps = 10, warm_up = 2, rows = 30;
  std::string by = "kernel", trace, trace_limit, html;
};

ProfileBy parse_by(const std::string& text) {
  constexpr std::pair<const char*, ProfileBy> names[] = {{"kernel", ProfileBy::kernel},
                                                         {"layer", ProfileBy::layer},
                                                         {"layer-kernel", ProfileBy::layer_kernel},
                                                         {"shape", ProfileBy::shape}};
  std::vector<std::string> known;
  for (const auto& [name, by] : names) {
    if (text == name) return by;
    known.emplace_back(name);
  }
  fail_usage(fmt::format("--by cannot be '{}'{}", text, nearest_hint(text, known)));
}

void check_flags(const CommandLine& line, const ProfileOptions& options) {
  if (options.steps < 1 || options.steps > most_steps)
    line.usage(fmt::format("--steps must be 1 to {}, not {}", most_steps, options.steps));
  if (options.warm_up < 0 || options.warm_up > most_steps)
    line.usage(fmt::format("--warm-up must be 0 to {}, not {}", most_steps, options.warm_up));
  if (options.rows < 1) line.usage(fmt::format("--rows must be at least 1, not {}", options.rows));
  if (!options.trace_limit.empty() && options.trace.empty())
    line.usage("--trace-limit needs --trace FILE.json");
  if (line.given("--label") && !line.given("--data")) line.usage("--label needs --data PATH");
}

// Before minutes of profiling, not after them.
void check_folder_of(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  if (file.empty() || folder.empty() || std::filesystem::is_directory(folder)) return;
  fail(fmt::format("cannot write {}: there is no folder {}; make it first", file, folder.string()));
}

// A batch for each step.
class Source {
 public:
  virtual ~Source() = default;
  virtual ModelInput next(Tensor& labels) = 0;
};

/// The same random images in every step.
class RandomSource : public Source {
 public:
  RandomSource(const RunConfig& config, Device device) {
    for (const std::string& name : config.model.input_names()) {
      const std::int64_t channels = name == "image" ? 3 : config.model.channels_of(name);
      const Shape shape{config.batch, config.height, config.width, channels};
      std::mt19937 generator(static_cast<unsigned>(config.seed + input_.images.size()));
      std::normal_distribution<float> normal;
      std::vector<float> values(static_cast<std::size_t>(shape.numel()));
      for (float& value : values) value = normal(generator);
      input_.images.push_back(
          Tensor::from<float>(std::span<const float>(values), shape, profiled_dtype(config)).to(device));
    }
    std::vector<std::int64_t> classes;
    for (std::int64_t i = 0; i < config.batch; ++i) classes.push_back(i % config.model.classes);
    labels_ = Tensor::from<std::int64_t>(std::span<const std::int64_t>(classes), {config.batch}, Dtype::i64);
  }
  ModelInput next(Tensor& labels) override {
    labels = labels_;
    return input_;
  }

 private:
  ModelInput input_;
  Tensor labels_;
};

/// The set's samples in the order and with the augmentation of a training, from the beginning again after the last.
class DataSource : public Source {
 public:
  DataSource(const RunConfig& config, const Dataset& dataset, bool train)
      : inputs_(config, dataset),
        samples_(all_of(dataset)),
        loader_(dataset, samples_, input_spec(config), options(config, train)) {
    loader_.start(epoch_, 0);
  }
  ModelInput next(Tensor& labels) override {
    Batch batch;
    if (!loader_.next(batch)) {
      loader_.start(++epoch_, 0);
      if (!loader_.next(batch)) fail("the set has no batch");
    }
    labels = label_tensor(batch);
    return inputs_.of(batch);
  }

 private:
  static std::vector<int> all_of(const Dataset& dataset) {
    std::vector<int> samples(dataset.samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int>(i);
    return samples;
  }
  LoaderOptions options(const RunConfig& config, bool train) {
    inputs_.keep(samples_);
    const LoaderOptions options = inputs_.loader_options(std::make_shared<ImageCache>(default_cache_bytes));
    return train ? training_options(config, options) : options;
  }

  Inputs inputs_;
  std::vector<int> samples_;
  int epoch_ = 0;
  Loader loader_;
};

/// One step at a time, as a training or a prediction makes it.
class Stepper {
 public:
  Stepper(Model& model, Source& source, const RunConfig& config, bool train)
      : model_(model), source_(source), config_(config), train_(train) {
    model_.set_training(train);
    if (train) optimizer_ = std::make_unique<Optimizer>(model_.parameters(), config.optimizer);
  }

  void step() {
    Tensor labels;
    ModelInput input;
    {
      const TraceRange range(RangeKind::data, "data");
      input = source_.next(labels);
    }
    train_ ? train(input, labels) : infer(input);
  }

 private:
  void infer(const ModelInput& input) {
    const NoGrad no_grad;
    const TraceRange range(RangeKind::forward, "forward");
    model_.forward(input, {.stochastic = false});
  }

  void train(const ModelInput& input, const Tensor& labels) {
    optimizer_->zero_grad();
    Tensor loss;
    {
      const TraceRange range(RangeKind::forward, "forward");
      std::vector<AuxiliaryLogits> auxiliary;
      const Tensor logits = model_.forward(
          input, {.stochastic = true, .seed = config_.seed, .step = step_++, .auxiliary = &auxiliary});
      loss = loss_of(logits, auxiliary, labels);
    }
    {
      const TraceRange range(RangeKind::backward, "backward");
      loss.backward();
    }
    const TraceRange range(RangeKind::optimizer, "optimizer");
    if (parse_device(config_.device) == Device::cpu) {
      optimizer_->step(config_.learning_rate);
    } else {
      optimizer_->start_step(config_.learning_rate);
    }
  }

  Model& model_;
  Source& source_;
  const RunConfig& config_;
  bool train_;
  std::uint64_t step_ = 0;
  std::unique_ptr<Optimizer> optimizer_;
};

void profile_steps(Profile& profile, Stepper& stepper, const ProfileOptions& options, Device device) {
  for (std::int64_t i = 0; i < options.warm_up; ++i) stepper.step();
  reset_peak_memory(device);
  for (std::int64_t i = 0; i < options.steps; ++i) {
    profile.begin_step();
    stepper.step();
    profile.end_step();
  }
}

int run_profile(const CommandLine& line, const ProfileOptions& options, ProfileBy by,
                std::int64_t trace_bytes) {
  RunConfig config = line.config();
  resolve(config);
  apply_to_process(config);
  const Device device = parse_device(config.device);
  std::optional<Dataset> dataset;
  if (!config.data.empty()) {
    dataset = open_data(config, config.data, options.train);
    if (!dataset->classes.empty()) config.model.classes = static_cast<std::int64_t>(dataset->classes.size());
  }
  const Peaks peaks = peaks_for(config);
  const std::unique_ptr<Model> model = checked_model(config);
  model->name_layers();
  std::unique_ptr<Source> source;
  if (dataset) {
    source = std::make_unique<DataSource>(config, *dataset, options.train);
  } else {
    source = std::make_unique<RandomSource>(config, device);
  }
  Stepper stepper(*model, *source, config, options.train);
  Profile profile(device, clock_for(config));
  profile_steps(profile, stepper, options, device);
  ProfileFacts facts = profile_facts(config, options.train ? "training" : "inference");
  facts.warm_up = static_cast<int>(options.warm_up);
  facts.memory_peak = memory_use(device).peak;
  const ProfileView view{
      .profile = profile, .peaks = peaks, .facts = facts, .by = by, .dtype = profiled_dtype(config)};
  if (!options.trace.empty()) write_trace(options.trace, profile, trace_bytes);
  if (!options.html.empty()) write_file_atomically(options.html, profile_page(view));
  fmt::print("{}",
             line.json() ? profile_json(view) : profile_table(view, static_cast<std::size_t>(options.rows)));
  return exit_done;
}

}  // namespace

int command_profile(const Arguments& arguments) {
  CommandLine line(
      "profile",
      "Where the time of a step goes: per kernel, its self time, operations and bytes, and how far it is "
      "from "
      "the floor that this machine's measured ceilings set.",
      "  fovea profile --model hm-vgg --train -b 8\n"
      "  fovea profile --model resnet50 --image-size 224 --by layer --rows 50\n"
      "  fovea profile --model hm-vgg --train --data eyes --trace trace.json --html profile.html\n"
      "  fovea profile --model hm-vgg --train --kernel conv2d=reference --json\n");
  ProfileOptions options;
  line.flag("--train", options.train, "a training step: forward, backward, optimizer; else a forward");
  line.config_flag("batch", "samples a step (8)");
  line.config_flag("image_size", "what the network sees, in pixels (224)");
  line.config_flag("data", "a set whose images are loaded in every step (random ones)");
  line.config_flag("label", "of the set's manifest (label)");
  line.option("--steps", options.steps, "N", "steps that are profiled (10)");
  line.option("--warm-up", options.warm_up, "N", "steps before them (2)");
  line.option("--by", options.by, "kernel|layer|layer-kernel|shape", "what a row is (kernel)");
  line.option("--rows", options.rows, "N", "of the table; the rest is summed up (30)");
  line.option("--trace", options.trace, "FILE.json", "a trace for ui.perfetto.dev or chrome://tracing");
  line.option("--trace-limit", options.trace_limit, "SIZE", "the most that it may have (64MiB)");
  line.option("--html", options.html, "FILE", "a page with roofline and time line");
  line.config_flags(KeyGroup::model);
  if (!line.parse(arguments)) return exit_done;
  check_flags(line, options);
  check_folder_of(options.trace);
  check_folder_of(options.html);
  const std::int64_t trace_bytes =
      options.trace_limit.empty() ? default_trace_bytes : parse_bytes(options.trace_limit);
  return run_profile(line, options, parse_by(options.by), trace_bytes);
}

}  // namespace fovea
