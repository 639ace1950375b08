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
#include "probe_input.hpp"
#include "tensor_io.hpp"

namespace fovea {
namespace {

struct Paths {
  std::string weights, input, output, save_weights;
};

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
