// fovea probe: one forward, and with labels one backward, on given arrays. How anyone checks this program
// against another: everything that went in and came out is in two safetensors files.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "autograd/engine.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "exchange/onnx.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/observed.hpp"
#include "nn/optimizer.hpp"
#include "nn/safetensors.hpp"
#include "nn/state.hpp"
#include "observers.hpp"
#include "tensor_io.hpp"

namespace fovea {
namespace {

struct Paths {
  std::string weights, input, output, save_weights;
};

struct Probe {
  std::vector<std::string> names;
  ModelInput input;
  Tensor labels;
};

Tensor read_image(const SafetensorsFile& file, const std::string& name, const ModelConfig& config) {
  Tensor image = tensor_of(file.at(name), config.dtype);
  const std::int64_t channels = name == "image" ? 3 : config.channels_of(name);
  if (image.shape().rank() != 4 || image.shape()[3] != channels || image.dtype() != config.dtype) {
    fail(fmt::format("{}: '{}' must be floats of N,H,W,{}, not {} of {}{}", file.path(), name, channels,
                     file.at(name).dtype, to_string(image.shape()),
                     name == "oct" ? "; --set oct.slices=K takes K channels" : ""));
  }
  return image;
}

std::vector<std::uint8_t> read_mask(const SafetensorsFile& file, const std::string& name,
                                    std::int64_t samples) {
  const SafetensorsEntry* entry = file.find("mask/" + name);
  if (entry == nullptr) return {};
  const bool floating = entry->dtype.starts_with("F") || entry->dtype.starts_with("BF");
  std::vector<std::uint8_t> present;
  for (const double value : floating ? to_doubles(*entry) : tensor_of(*entry, Dtype::f64).to_doubles()) {
    if (value != 0 && value != 1) {
      fail(fmt::format("{}: 'mask/{}' must be 0 or 1, not {}", file.path(), name, value));
    }
    present.push_back(value != 0);
  }
  if (static_cast<std::int64_t>(present.size()) != samples) {
    fail(fmt::format("{}: 'mask/{}' has {} values for {} samples", file.path(), name, present.size(),
                     samples));
  }
  return present;
}

Tensor read_labels(const SafetensorsFile& file, std::int64_t samples, std::int64_t classes) {
  const SafetensorsEntry* entry = file.find("label");
  if (entry == nullptr) return {};
  Tensor labels = tensor_of(*entry, Dtype::f64);
  if (labels.dtype() != Dtype::i64 || labels.numel() != samples) {
    fail(fmt::format("{}: 'label' must be {} integers, not {} of {}", file.path(), samples, labels.numel(),
                     entry->dtype));
  }
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::int64_t label = labels.data<std::int64_t>()[i];
    if (label < 0 || label >= classes) {
      fail(fmt::format(
          "{}: label {} of sample {} is outside 0..{}; --set classes=N changes the number of classes",
          file.path(), label, i, classes - 1));
    }
  }
  return labels.shape().rank() == 1 ? labels : alias(labels, {samples});
}

Probe read_input(const std::string& path, const Model& model) {
  const ModelConfig& config = model.config();
  const SafetensorsFile file = SafetensorsFile::open(path);
  Probe probe;
  probe.names = config.input_names();
  for (const std::string& name : probe.names) {
    const Tensor image = read_image(file, name, config);
    const Shape& first = probe.input.images.empty() ? image.shape() : probe.input.images[0].shape();
    if (image.shape()[0] != first[0]) {
      fail(fmt::format("{}: '{}' has {} samples, '{}' has {}", path, name, image.shape()[0], probe.names[0],
                       first[0]));
    }
    model.check_input_size(image.shape()[1], image.shape()[2]);
    probe.input.present.push_back(read_mask(file, name, image.shape()[0]));
    probe.input.images.push_back(image);
  }
  probe.labels = read_labels(file, probe.input.images[0].shape()[0], config.classes);
  for (const SafetensorsEntry& e : file.entries()) {
    const std::string base = e.name.starts_with("mask/") ? e.name.substr(5) : e.name;
    if (base != "label" && std::find(probe.names.begin(), probe.names.end(), base) == probe.names.end()) {
      fmt::print(stderr, "note: '{}' of {} is not used; this model takes {}\n", e.name, path,
                 fmt::join(probe.names, ", "));
    }
  }
  return probe;
}

// What backward left, zeros where it did not come by (the stream of a modality that no sample has).
Tensor gradient_of(const Tensor& tensor) {
  return tensor.grad() ? tensor.grad() : Tensor::zeros(tensor.shape(), tensor.dtype());
}

struct ProbeOptions {
  bool train = false, stochastic = false, amp = false;
  std::uint64_t seed = 0;
  std::int64_t steps = 0;
  double learning_rate = 0.001;
};

Tensor forward_of(Model& model, const Probe& probe, bool amp, const ForwardContext& context) {
  ModelInput input = probe.input;
  if (amp) {
    for (Tensor& image : input.images) image = cast(image, Dtype::bf16);
  }
  return model.forward(input, context);
}

// The loss before each of the steps.
Tensor descend(Model& model, const Probe& probe, const ProbeOptions& options) {
  Optimizer optimizer(model.parameters(), {.name = "sgd"});
  Tensor losses = Tensor::empty({options.steps}, Dtype::f64);
  for (std::int64_t step = 0; step < options.steps; ++step) {
    std::vector<AuxiliaryLogits> auxiliary;
    const ForwardContext context{.stochastic = options.stochastic,
                                 .seed = options.seed,
                                 .step = static_cast<std::uint64_t>(step),
                                 .auxiliary = &auxiliary};
    optimizer.zero_grad();
    begin_observed_step(step + 2);
    const Tensor logits = forward_of(model, probe, options.amp, context);
    const Tensor loss = loss_of(logits, auxiliary, probe.labels);
    loss.backward();
    losses.data<double>()[step] = loss.to_doubles()[0];
    optimizer.step(options.learning_rate);
  }
  return losses;
}

std::vector<SafetensorsEntry> run_probe(Model& model, Probe& probe, const ProbeOptions& options) {
  model.set_training(options.train);
  std::vector<AuxiliaryLogits> auxiliary;
  const ForwardContext context{
      .stochastic = options.stochastic, .seed = options.seed, .step = 0, .auxiliary = &auxiliary};
  const auto forward = [&] { return forward_of(model, probe, options.amp, context); };
  const auto as_given = [&](const Tensor& tensor) { return tensor.to(model.config().dtype); };
  std::vector<SafetensorsEntry> out;
  begin_observed_step(1);
  if (!probe.labels) {
    NoGrad no_grad;
    out.push_back(entry_of("logits", as_given(forward())));
  } else {
    for (Tensor& image : probe.input.images) image.set_requires_grad(true);
    const Tensor logits = forward();
    out.push_back(entry_of("logits", as_given(logits.clone())));
    const Tensor loss = loss_of(logits, auxiliary, probe.labels);
    out.push_back(entry_of("loss", loss.clone()));
    loss.backward();
    for (const NamedTensor& p : model.parameters()) {
      out.push_back(entry_of("grad/" + p.name, to_file_layout(gradient_of(p.tensor), p.layout)));
    }
    for (std::size_t i = 0; i < probe.names.size(); ++i) {
      out.push_back(entry_of("grad/input/" + probe.names[i], gradient_of(probe.input.images[i])));
    }
  }
  if (options.train) {
    for (const NamedTensor& b : model.buffers()) {
      out.push_back(entry_of("buffer/" + b.name, to_file_layout(b.tensor.clone(), b.layout)));
    }
  }
  if (options.steps > 0) out.push_back(entry_of("losses", descend(model, probe, options)));
  return out;
}

void check_flags(const CommandLine& line, const Paths& paths, const ProbeOptions& options) {
  if (paths.input.empty() && paths.save_weights.empty()) {
    line.usage(
        "nothing to do: give --input X.safetensors and --output Y.safetensors, or --save-weights "
        "W.safetensors");
  }
  if (paths.input.empty() != paths.output.empty()) {
    line.usage(paths.input.empty() ? "--output needs --input X.safetensors"
                                   : "--input needs --output Y.safetensors");
  }
  if (options.stochastic && !options.train)
    line.usage("--stochastic needs --train: dropout acts in training alone");
  if (options.steps < 0 || options.steps > 1000000)
    line.usage(fmt::format("--steps must be 0 to 1000000, not {}", options.steps));
  if (options.steps > 0 && !options.train) line.usage("--steps needs --train");
  if (!(options.learning_rate >= 0 && options.learning_rate <= 1000))
    line.usage(fmt::format("--step-size must be 0 to 1000, not {}", options.learning_rate));
}

}  // namespace

int command_probe(const Arguments& arguments) {
  CommandLine line(
      "probe",
      "One forward, and with labels one backward, on given arrays. X holds fundus, oct, vf (or image) as "
      "N,H,W,C, optionally label and mask/<modality>; Y gets logits, loss, grad/*, buffer/*.",
      "  fovea probe --model hm-vgg --save-weights W.safetensors --seed 7\n"
      "  fovea probe --model hm-vgg --weights W.safetensors --input X.safetensors --train --dtype f64 "
      "--output Y.safetensors\n"
      "  fovea probe --model hm-vgg --modalities fundus,vf --fusion early --input X.safetensors --output "
      "Y.safetensors\n");
  Paths paths;
  ProbeOptions options;
  line.option("--input", paths.input, "FILE", "arrays to run on");
  line.option("--output", paths.output, "FILE", "where the results go");
  line.option("--save-weights", paths.save_weights, "FILE",
              "write the parameters and buffers that the run began with");
  line.flag("--train", options.train, "batch statistics, and the updated buffers in Y");
  line.flag("--stochastic", options.stochastic, "with --train: dropout and stochastic depth act");
  line.option("--steps", options.steps, "N",
              "with --train and labels: then N steps of SGD with momentum 0.9 on these arrays; the loss "
              "before each goes "
              "to Y as 'losses'");
  line.option("--step-size", options.learning_rate, "X", "their learning rate, 0.001 by default");
  line.config_flags(KeyGroup::model);
  line.config_flags(KeyGroup::observers);
  if (!line.parse(arguments)) return exit_done;
  check_flags(line, paths, options);
  RunConfig config = line.config();
  resolve(config);
  apply_to_process(config);
  if (config.ab_stop) line.usage("--ab-stop ends a training; a probe reports the bound and goes on");
  start_observers(config);
  const std::unique_ptr<Model> model = make_model(config.model);
  if (!config.weights.empty()) load_weights(config.weights, *model, true);
  if (!paths.save_weights.empty()) save_weights(paths.save_weights, *model);
  if (paths.input.empty()) return exit_done;
  const Device device = parse_device(config.device);
  model->to(device);
  Probe probe = read_input(paths.input, *model);
  for (Tensor& image : probe.input.images) image = image.to(device);
  if (options.steps > 0 && !probe.labels) fail(fmt::format("--steps: {} has no 'label'", paths.input));
  options.seed = config.seed;
  options.amp = config.amp;
  write_safetensors(paths.output, run_probe(*model, probe, options));
  if (line.json() && observing()) {
    fmt::print("{}", observations_json());
  } else {
    fmt::print(stderr, "{}", observations_text());
  }
  return exit_done;
}

}  // namespace fovea
