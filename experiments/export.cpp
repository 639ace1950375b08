// fovea export: a run, or weights, as files that other programs read: an ONNX model, or safetensors under PyTorch's
// names and layout.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands.hpp"
#include "data/loader.hpp"
#include "exchange/onnx.hpp"
#include "nn/state.hpp"
#include "run_folder.hpp"
#include "version.hpp"

namespace fovea {
namespace {

struct Wanted {
  std::string run, checkpoint;
  std::string onnx, safetensors;
};

/// x = (pixel / 255 - mean) / std for each channel of each input, and where the classes' names are known, these.
std::map<std::string, std::string> metadata_of(const RunConfig& config) {
  nlohmann::ordered_json normalisation, keys;
  const std::vector<std::string> names = config.model.input_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& modality = config.model.modalities[i];
    for (int c = 0; c < config.model.channels_of(modality); ++c) {
      const Normalisation rule = normalisation_of(parse_modality(modality), c);
      normalisation[names[i]]["mean"].push_back(rule.mean);
      normalisation[names[i]]["std"].push_back(rule.deviation);
    }
  }
  for (const auto& [key, value] : model_keys(config.model)) keys[key] = value;
  std::map<std::string, std::string> metadata{{"model", config.model.name},
                                              {"classes", fmt::format("{}", config.model.classes)},
                                              {"normalisation", normalisation.dump()},
                                              {"config", keys.dump()}};
  if (!config.class_names.empty()) metadata["class_names"] = nlohmann::json(config.class_names).dump();
  return metadata;
}

// What is computed on the way does not end in the file: so f32 on the CPU, whatever the run was trained with.
RunConfig config_of(const CommandLine& line, const Wanted& wanted) {
  RunConfig config = line.config(wanted.run.empty() ? RunConfig{} : RunFolder(wanted.run).config());
  if (line.given("--dtype") && config.dtype != "f32") {
    line.usage(fmt::format("ONNX files are of f32, not {}; leave out --dtype", config.dtype));
  }
  if (!wanted.onnx.empty()) config.dtype = "f32";
  config.device = "cpu";
  config.amp = false;
  config.kernels.clear();
  config.backend = "none";
  resolve(config);
  apply_to_process(config);
  return config;
}

void print_done(const std::string& path, const RunConfig& config) {
  std::error_code ignored;
  fmt::print(stderr, "{}: {} of {} classes, {:.1f} MB\n", path, config.model.name, config.model.classes,
             static_cast<double>(std::filesystem::file_size(path, ignored)) * 1e-6);
}

void check_flags(const CommandLine& line, const Wanted& wanted) {
  if (wanted.run.empty() == !line.given("--weights")) {
    line.usage("give what to export: --run DIR, or --model M --weights FILE");
  }
  if (!wanted.run.empty() && line.given("--model")) line.usage("--run knows its model; leave out --model");
  if (wanted.run.empty() && !wanted.checkpoint.empty())
    line.usage("--checkpoint is of a run: give --run DIR");
  if (wanted.onnx.empty() && wanted.safetensors.empty()) {
    line.usage("give a file to write: --onnx FILE or --safetensors FILE");
  }
}

}  // namespace

int command_export(const Arguments& arguments) {
  CommandLine line(
      "export",
      "Writes a trained model for other programs: ONNX for inference (inputs N,C,H,W in float32, any batch; "
      "output 'logits'), or safetensors under PyTorch's names and layout.",
      "  fovea export --run runs/first --onnx first.onnx\n"
      "  fovea export --run runs/first --checkpoint last --safetensors first.safetensors\n"
      "  fovea export --model resnet50 --set classes=1000 --weights resnet50.safetensors --onnx "
      "resnet50.onnx\n"
      "  fovea export --model hm-vgg --modalities fundus,vf --weights W.safetensors --image-size 256 --onnx "
      "M.onnx\n");
  Wanted wanted;
  line.option("--run", wanted.run, "DIR", "the run's folder");
  line.option("--checkpoint", wanted.checkpoint, "best|last",
              "which weights of the run (best, or what it kept)");
  line.option("--onnx", wanted.onnx, "FILE", "the ONNX model");
  line.option("--safetensors", wanted.safetensors, "FILE", "parameters and buffers");
  line.config_flag("image_size", "of the model's inputs (the run's, else 224)");
  line.config_flags(KeyGroup::model);
  if (!line.parse(arguments)) return exit_done;
  check_flags(line, wanted);
  RunConfig config = config_of(line, wanted);
  const std::unique_ptr<Model> model = make_model(config.model);
  if (wanted.run.empty()) {
    load_weights(config.weights, *model, true);
  } else {
    const RunFolder folder(wanted.run);
    set_key(config, "checkpoint", folder.checkpoint_to_read(wanted.checkpoint));
    folder.load_checkpoint(*model, config.checkpoint);
  }
  const std::map<std::string, std::string> metadata = metadata_of(config);
  if (!wanted.onnx.empty()) {
    write_onnx(wanted.onnx, *model, config.height, config.width, version(), metadata);
    print_done(wanted.onnx, config);
  }
  if (!wanted.safetensors.empty()) {
    save_weights(wanted.safetensors, *model, metadata);
    print_done(wanted.safetensors, config);
  }
  return exit_done;
}

}  // namespace fovea
