// fovea cam: class activation maps, of a run's network on photographs or a set, or of any weights on given arrays.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "batches.hpp"
#include "cam_maps.hpp"
#include "cam_output.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "data/csv.hpp"
#include "input_picture.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"
#include "nn/state.hpp"
#include "probe_input.hpp"
#include "progress.hpp"
#include "results.hpp"
#include "run_folder.hpp"
#include "sample_lists.hpp"

namespace fovea {
namespace {

struct Wanted {
  std::string run, data, ids, part, checkpoint, input, output;
  std::vector<std::string> files;
  std::string method = "gradcam", layers, target;
  std::int64_t steps = 50;
  double fovea_radius = 0.1;
  bool faithfulness = false, overwrite = false;
};

void check_flags(const CommandLine& line, const Wanted& w) {
  if (w.output.empty()) line.usage("give the folder for the maps: --output DIR");
  if (w.run.empty() == w.input.empty())
    line.usage("give either --run DIR, or --input X.safetensors with --model and --weights");
  if (w.run.empty()) {
    for (const auto& [flag, value] : {std::pair{"--data", &w.data},
                                      {"--ids", &w.ids},
                                      {"--part", &w.part},
                                      {"--checkpoint", &w.checkpoint}})
      if (!value->empty()) line.usage(fmt::format("{} needs --run DIR", flag));
    if (!w.files.empty())
      line.usage(fmt::format("'{}' needs --run DIR: --input brings its own images", w.files[0]));
    return;
  }
  for (const char* flag : {"--model", "--weights", "--modalities", "--fusion"})
    if (line.given(flag)) line.usage(fmt::format("{} is of --input; --run DIR has its own model", flag));
  const bool of_set = !w.data.empty() || !w.ids.empty() || !w.part.empty();
  if (w.files.empty() != of_set)
    line.usage("give either photographs, or a set by --data PATH, --part or --ids");
  if (!w.part.empty() && !w.ids.empty()) line.usage("give either --part or --ids");
  if (!w.part.empty() && w.part != "test" && w.part != "all")
    line.usage(fmt::format("--part is test or all, not '{}'", w.part));
}

// A number, or the name of a class.
std::int64_t parse_target(const std::string& text, const std::vector<std::string>& classes) {
  const auto named = std::ranges::find(classes, text);
  if (named != classes.end()) return named - classes.begin();
  const auto number = parse_integer(text);
  if (!number)
    fail_usage(
        fmt::format("--class '{}' is neither a number nor a class{}", text, nearest_hint(text, classes)));
  return *number;
}

CamOptions options_of(const CommandLine& line, const Wanted& w, const RunConfig& config) {
  CamOptions options;
  options.method = parse_cam_method(w.method);
  options.layers = split_cell(w.layers, ',');
  if (!w.target.empty()) options.target = parse_target(w.target, config.class_names);
  if (w.steps < 1 || w.steps > 10000) line.usage(fmt::format("--steps must be 1 to 10000, not {}", w.steps));
  if (line.given("--steps") && !w.faithfulness) line.usage("--steps needs --faithfulness");
  if (!(w.fovea_radius > 0 && w.fovea_radius <= 1))
    line.usage(fmt::format("--fovea-radius must be above 0 and at most 1, not {}", w.fovea_radius));
  options.faithfulness_steps = w.faithfulness ? static_cast<int>(w.steps) : 0;
  options.fovea_radius = w.fovea_radius;
  options.batch = static_cast<int>(config.batch);
  return options;
}

/// Takes results batch by batch, and at the end writes what is of all of them.
class Output {
 public:
  Output(const Wanted& w, const Model& model, const CamOptions& options, std::vector<std::string> classes,
         const std::vector<std::string>& ids)
      : folder_(w.output, w.overwrite, ids, model.cam_streams().size() > 1),
        method_(options.method),
        classes_(std::move(classes)),
        samples_(ids.size()) {}

  void take(std::vector<CamResult> results) {
    for (CamResult& r : results) {
      files_.push_back(folder_.write(r));
      if (results_.empty() || results_.back().id != r.id) ++done_;
      r.map = {};
      if (done_ > most_sheet_rows) r.seen = r.overlay = {};
      results_.push_back(std::move(r));
    }
    if (progress_.due()) progress_.update(fmt::format("{} of {} samples", done_, samples_));
  }

  void finish(bool json) {
    const std::string list = cam_json(results_, method_, classes_, files_);
    write_png(folder_.file("sheet.png"), cam_sheet(results_, classes_));
    write_file_atomically(folder_.file("cam.json"), list);
    fmt::print("{}", json ? list : cam_table(results_));
    for (const CamStatus status : {CamStatus::not_positive, CamStatus::constant, CamStatus::not_finite}) {
      const auto count = std::ranges::count(results_, status, &CamResult::status);
      if (count > 0)
        progress_.note(
            fmt::format("note: {} of {} maps not drawn: {}", count, results_.size(), meaning_of(status)));
    }
    if (done_ > most_sheet_rows)
      progress_.note(fmt::format("note: sheet.png shows the first {} of {} samples", most_sheet_rows, done_));
  }

 private:
  CamFolder folder_;
  CamMethod method_;
  std::vector<std::string> classes_;
  std::vector<CamResult> results_;  // without maps; of the sheet's with pictures
  std::vector<std::string> files_;
  std::size_t samples_;
  int done_ = 0;
  Progress progress_;
};

// ---- of a run

int map_run(const CommandLine& line, const Wanted& w) {
  const RunFolder folder(w.run);
  RunConfig config = line.config(folder.config());
  set_key(config, "checkpoint", folder.checkpoint_to_read(w.checkpoint));
  resolve(config);
  allow_without_amp(config);
  apply_to_process(config);
  const CamOptions options = options_of(line, w, config);
  const std::unique_ptr<Model> model = make_model(config.model);
  check_cam_options(*model, options);
  const SampleList list =
      w.files.empty() ? samples_of_set(config, w.data, w.part, w.ids) : samples_of_files(config, w.files);
  std::vector<std::string> ids;
  for (const int i : list.indices) ids.push_back(list.dataset.samples[static_cast<std::size_t>(i)].id);
  folder.load_checkpoint(*model, config.checkpoint);
  model->to(parse_device(config.device));
  Inputs inputs(config, list.dataset);
  Output output(w, *model, options, config.class_names, ids);
  cam_maps(*model, inputs, config, list.dataset, list.indices, options,
           [&](std::vector<CamResult> results) { output.take(std::move(results)); });
  output.finish(line.json());
  return exit_done;
}

// ---- of arrays

// The picture that normalisation was made of, as near as 8 bits have it.
Image picture_of_row(const Tensor& images, std::int64_t row, Modality modality) {
  const Shape& s = images.shape();
  Image image = make_image(static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3]));
  visit_float(images.dtype(), [&](auto zero) {
    const auto* from = images.data<decltype(zero)>() + row * (images.numel() / s[0]);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      const Normalisation rule =
          normalisation_of(modality, static_cast<int>(i % static_cast<std::size_t>(s[3])));
      const double level = 255 * (static_cast<double>(from[i]) * rule.deviation + rule.mean);
      image.pixels[i] =
          std::isfinite(level) ? static_cast<std::uint8_t>(std::clamp(level + 0.5, 0.0, 255.0)) : 0;
    }
  });
  return picture_of(image, modality);
}

std::vector<CamSample> samples_of_arrays(const Probe& probe, std::int64_t first, std::int64_t last) {
  std::vector<CamSample> samples;
  for (std::int64_t i = first; i < last; ++i) {
    CamSample sample{.id = fmt::format("{}", i)};
    if (probe.labels) sample.label = probe.labels.data<std::int64_t>()[i];
    for (std::size_t k = 0; k < probe.names.size(); ++k) {
      const auto& present = probe.input.present[k];
      const Modality modality = probe.names[k] == "image" ? Modality::fundus : parse_modality(probe.names[k]);
      sample.seen.push_back(present.empty() || present[static_cast<std::size_t>(i)]
                                ? picture_of_row(probe.input.images[k], i, modality)
                                : Image{});
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

int map_arrays(const CommandLine& line, const Wanted& w) {
  RunConfig config = line.config();
  resolve(config);
  apply_to_process(config);
  const CamOptions options = options_of(line, w, config);
  const std::unique_ptr<Model> model = make_model(config.model);
  check_cam_options(*model, options);
  if (!config.weights.empty()) load_weights(config.weights, *model, true);
  const Device device = parse_device(config.device);
  model->to(device);
  const Probe probe = read_input(w.input, *model);
  const std::int64_t count = probe.input.images[0].shape()[0];
  std::vector<std::string> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(fmt::format("{}", i));
  Output output(w, *model, options, config.class_names, ids);
  for (std::int64_t first = 0; first < count; first += config.batch) {
    const std::int64_t last = std::min(first + config.batch, count);
    ModelInput part = samples_of(probe.input, first, last);
    for (Tensor& image : part.images) image = image.to(device);
    output.take(cam_maps(*model, part, probe.names, samples_of_arrays(probe, first, last), options));
  }
  output.finish(line.json());
  return exit_done;
}

}  // namespace

int command_cam(const Arguments& arguments) {
  CommandLine line(
      "cam",
      "Class activation maps: which places of an image moved the network to its class. Writes a picture and "
      "an array "
      "(NPY) for each map, sheet.png and cam.json.",
      "  fovea cam --run runs/first eye1.jpg eye2.png --output maps\n"
      "  fovea cam --run runs/first --part test --layer M2,R5 --output maps\n"
      "  fovea cam --run runs/first --data eyes --ids 0001_OD,0002_OS --class 2 --faithfulness --output "
      "maps\n"
      "  fovea cam --model resnet50 --weights W.safetensors --input X.safetensors --output maps\n");
  Wanted w;
  line.positionals("files", w.files, "fundus photographs, for a run on these alone");
  line.option("--run", w.run, "DIR", "the run's folder");
  line.option("--data", w.data, "PATH", "a set, in place of files; its labels are not needed");
  line.option("--ids", w.ids, "A,B", "samples of the set (of the run's own without --data)");
  line.option("--part", w.part, "test|all",
              "of the set: what the run held out (of its own set the default), or all");
  line.option("--checkpoint", w.checkpoint, "best|last", "which weights (best, or what the run kept)");
  line.option("--input", w.input, "FILE",
              "arrays as `fovea probe` takes them, in place of --run, with --model and --weights");
  line.option("-o,--output", w.output, "DIR", "where the maps go, an empty or a new folder");
  line.flag("--overwrite", w.overwrite, "replace the maps of an earlier call");
  line.option("--method", w.method, "NAME",
              fmt::format("one of {} (gradcam)", fmt::join(cam_method_names(), ", ")));
  line.option("--layer", w.layers, "A,B",
              "layers, each and the mean of them; torchvision's names do too (the last one)");
  line.option("--class", w.target, "N",
              "the class to explain, by number or name (each sample's most likely)");
  line.config_flag("batch", "samples, and changed images, in a forward pass (the run's)");
  line.flag("--faithfulness", w.faithfulness, "score the maps by insertion and deletion");
  line.option("--steps", w.steps, "N", "of each of their curves (50)");
  line.option("--fovea-radius", w.fovea_radius, "X",
              "of the circle around a marked fovea, in parts of the image's shorter side (0.1)");
  line.config_flags(KeyGroup::model);
  if (!line.parse(arguments)) return exit_done;
  check_flags(line, w);
  return w.run.empty() ? map_arrays(line, w) : map_run(line, w);
}

}  // namespace fovea
