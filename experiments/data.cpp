// fovea data: audit a set, write the synthetic one, show what the network sees of a sample.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "batches.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "data/check.hpp"
#include "data/image.hpp"
#include "data/loader.hpp"
#include "data/synthetic.hpp"
#include "input_picture.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"
#include "nn/safetensors.hpp"
#include "sample_lists.hpp"

namespace fovea {
namespace {

int data_check(const Arguments& arguments) {
  CommandLine line(
      "data check",
      "Audits a set: counts, sizes, unreadable files, labels out of range, subjects across splits, "
      "near-duplicates. Exits with 1 where something must be put right.",
      "  fovea data check eyes\n"
      "  fovea data check grape/labels.csv --label prog_plr2 --json\n");
  std::string path, label = "label";
  line.positional("path", path, "the set");
  line.option("--label", label, "COLUMN", "of the manifest (label)");
  if (!line.parse(arguments)) return exit_done;
  if (path.empty()) line.usage("give the set to check");
  RunConfig config = line.config();
  apply_to_process(config);
  DatasetOptions options;
  options.label_column = label;
  const DataReport report = check_dataset(path, options);
  const std::string text = line.json() ? to_json(report) : to_text(report);
  fmt::print("{}{}", text, text.ends_with("\n") ? "" : "\n");
  return report.ok() ? exit_done : exit_failed;
}

int data_synth(const Arguments& arguments) {
  CommandLine line(
      "data synth",
      "Writes a synthetic set: photograph, OCT slices and visual field of each eye, with a grade that causes "
      "what they show.",
      "  fovea data synth eyes\n"
      "  fovea data synth eyes -n 300 --image-size 256 --seed 7 --missing 0.2\n");
  SyntheticOptions options;
  std::string folder;
  std::int64_t count = options.count, size = options.image_size, slices = options.oct_slices;
  line.positional("dir", folder, "the folder to write, new, empty or an earlier synthetic set");
  line.option("-n,--count", count, "N", fmt::format("eyes ({})", options.count));
  line.option("--image-size", size, "S", fmt::format("pixels of a side ({})", options.image_size));
  line.option("--missing", options.missing, "P",
              "how many of the eyes lack their OCT or their field, 0 to 1 (0)");
  line.option("--oct-slices", slices, "N", fmt::format("of a volume ({})", options.oct_slices));
  if (!line.parse(arguments)) return exit_done;
  if (folder.empty()) line.usage("give the folder to write");
  RunConfig config = line.config();
  apply_to_process(config);
  const auto fits_int = [&](const char* what, std::int64_t value) {
    if (value < 0 || value > 1'000'000) line.usage(fmt::format("{} cannot be {}", what, value));
    return static_cast<int>(value);
  };
  options.count = fits_int("the number of eyes", count);
  options.image_size = fits_int("--image-size", size);
  options.oct_slices = fits_int("--oct-slices", slices);
  if (line.given("--seed")) options.seed = config.seed;
  write_synthetic(folder, options);
  fmt::print(stderr,
             "{} eyes in {}; to train on them: fovea train --data {} --image-size 64 --output runs/first\n",
             options.count, folder, folder);
  return exit_done;
}

// ---- show

// As probe takes it: N,H,W,C with N = 1, and the label where there is one.
void write_arrays(const std::string& path, const Sample& sample, const std::vector<Image>& images,
                  const InputSpec& spec) {
  std::vector<SafetensorsEntry> entries;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const Image& image = images[i];
    std::vector<float> values(image.pixels.size());
    normalise(image, spec.modalities[i], values.data());
    entries.push_back(safetensors_entry(std::string(name_of(spec.modalities[i])),
                                        {1, image.height, image.width, image.channels}, std::move(values)));
  }
  if (sample.label >= 0)
    entries.push_back(safetensors_entry("label", {1}, std::vector<std::int64_t>{sample.label}));
  write_safetensors(path, entries, {{"id", sample.id}});
}

// Side by side: RGB as it is, every other channel as a grey picture of its own.
void write_picture(const std::string& path, const std::vector<Image>& images, const InputSpec& spec) {
  std::vector<Image> tiles;
  for (std::size_t i = 0; i < images.size(); ++i)
    for (Image& tile : input_pictures(images[i], spec.modalities[i])) tiles.push_back(std::move(tile));
  Image sheet = make_image(spec.image_height, spec.image_width * static_cast<int>(tiles.size()), 3);
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    const Image& tile = tiles[t];
    for (int y = 0; y < tile.height; ++y) {
      for (int x = 0; x < tile.width; ++x) {
        std::uint8_t* to = sheet.at(y, static_cast<int>(t) * spec.image_width + x);
        for (int c = 0; c < 3; ++c) to[c] = tile.at(y, x)[tile.channels == 3 ? c : 0];
      }
    }
  }
  write_png(path, sheet);
}

int data_show(const Arguments& arguments) {
  CommandLine line(
      "data show",
      "What the network sees of a sample, exactly: as arrays that probe takes, or as a picture of the same "
      "pixels before normalisation.",
      "  fovea data show eyes --id s001_OD --image-size 224 --output x.safetensors\n"
      "  fovea data show eyes --id s001_OD -c runs/first/config.toml --output x.png\n");
  std::string path, id, output;
  line.positional("path", path, "the set");
  line.option("--id", id, "ID", "the sample");
  line.option("-o,--output", output, "FILE", "X.safetensors or X.png");
  line.config_flags(KeyGroup::model);
  line.config_flags(KeyGroup::training);
  if (!line.parse(arguments)) return exit_done;
  if (path.empty() || id.empty() || output.empty()) line.usage("give the set, --id ID and --output FILE");
  const bool arrays = output.ends_with(".safetensors"), picture = output.ends_with(".png");
  if (!arrays && !picture) line.usage(fmt::format("--output {} must end in .safetensors or .png", output));
  RunConfig config = line.config();
  resolve(config);
  apply_to_process(config);
  const Dataset dataset = open_data(config, path, false);
  const Sample& sample = dataset.samples[static_cast<std::size_t>(index_of_sample(dataset, id))];
  InputSpec spec = input_spec(config);
  // Without a word about modalities, all that the sample has.
  if (!line.given("--modalities") && !line.given("--config") && !line.given("--set")) {
    spec.modalities.clear();
    for (const Modality m : all_modalities) {
      if (sample.has(m)) spec.modalities.push_back(m);
    }
  }
  std::vector<Image> images;
  for (const Modality m : spec.modalities) images.push_back(load_input(sample, m, spec));
  if (arrays) {
    write_arrays(output, sample, images, spec);
  } else {
    write_picture(output, images, spec);
  }
  return exit_done;
}

constexpr const char* help =
    "usage: fovea data check PATH | synth DIR | show PATH --id ID --output FILE\n\n"
    "  check   audit a set: counts, sizes, unreadable files, leaks between splits, near-duplicates\n"
    "  synth   write the synthetic set\n"
    "  show    what the network sees of a sample, exactly\n\n"
    "fovea data check --help says more, and so on.\n\n"
    "examples:\n"
    "  fovea data synth eyes -n 120\n"
    "  fovea data check eyes\n"
    "  fovea data show eyes --id s001_OD --image-size 224 --output x.png\n";

}  // namespace

int command_data(const Arguments& arguments) {
  struct Part {
    const char* name;
    int (*run)(const Arguments&);
  };
  constexpr std::array parts{Part{"check", &data_check}, Part{"synth", &data_synth},
                             Part{"show", &data_show}};
  if (arguments.empty()) fail_usage("give what to do: data check PATH, data synth DIR or data show PATH");
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    fmt::print("{}", help);
    return exit_done;
  }
  std::vector<std::string> names;
  for (const Part& part : parts) {
    if (arguments[0] == part.name) return part.run({arguments.begin() + 1, arguments.end()});
    names.emplace_back(part.name);
  }
  fail_usage(fmt::format("there is no 'data {}'{}", arguments[0], nearest_hint(arguments[0], names)));
}

}  // namespace fovea
