// See cam_maps.hpp.
#include "cam_maps.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "batches.hpp"
#include "data/dataset_rules.hpp"
#include "data/loader.hpp"
#include "eval/cam_pass.hpp"
#include "eval/colour_map.hpp"
#include "eval/predictions.hpp"
#include "input_picture.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

// In double from what the network computes in.
std::vector<double> row_of(const Tensor& values, std::size_t row) {
  const auto count = static_cast<std::size_t>(values.numel() / values.shape()[0]);
  return visit_any(values.dtype(), [&](auto zero) {
    const auto* from = values.data<decltype(zero)>() + row * count;
    return std::vector<double>(from, from + count);
  });
}

bool is_finite(const std::vector<double>& values) {
  return std::ranges::all_of(values, [](double v) { return std::isfinite(v); });
}

CamMap sum_of(CamMethod method, const CamLayerValues& layer, std::size_t row) {
  const Shape& s = layer.activation.shape();
  return class_activation(method, row_of(layer.activation, row), row_of(layer.gradient, row), s[1], s[2],
                          s[3]);
}

/// One batch on its way from the pass to results.
class BatchMaps {
 public:
  BatchMaps(Model& model, const ModelInput& input, const std::vector<std::string>& names,
            const std::vector<CamSample>& samples, const CamOptions& options)
      : model_(model),
        input_(input),
        names_(names),
        samples_(samples),
        options_(options),
        layers_(resolve_cam_layers(model, options.layers)),
        pass_(cam_pass(model, input, layers_, options.target)) {}

  std::vector<CamResult> results() {
    std::vector<CamResult> results;
    std::vector<std::string> streams = model_.cam_streams();
    if (streams.empty()) streams.emplace_back();
    for (std::size_t sample = 0; sample < samples_.size(); ++sample)
      for (const std::string& stream : streams) add_stream(results, sample, stream);
    return results;
  }

 private:
  // Inputs whose pixels a stream sees, of those that the sample has.
  std::vector<std::size_t> inputs_of(const std::string& stream, std::size_t sample) const {
    const auto at = static_cast<std::size_t>(std::ranges::find(names_, stream) - names_.begin());
    std::vector<std::size_t> inputs;
    for (std::size_t i = 0; i < names_.size(); ++i)
      if ((at == names_.size() || at == i) && !samples_[sample].seen[i].pixels.empty()) inputs.push_back(i);
    return inputs;
  }

  void add_stream(std::vector<CamResult>& results, std::size_t sample, const std::string& stream) {
    const std::vector<std::size_t> inputs = inputs_of(stream, sample);
    if (inputs.empty()) return;
    std::vector<CamMap> sums;
    for (const CamLayerValues& layer : pass_.layers) {
      if (layer.stream != stream) continue;
      const auto row = std::ranges::find(layer.samples, static_cast<std::int64_t>(sample));
      if (row == layer.samples.end()) return;
      sums.push_back(sum_of(options_.method, layer, static_cast<std::size_t>(row - layer.samples.begin())));
    }
    for (std::size_t i = 0; i < sums.size(); ++i)
      results.push_back(result_of(sample, stream, layers_[i], inputs, std::span(sums).subspan(i, 1)));
    if (sums.size() > 1)
      results.push_back(result_of(sample, stream, fmt::format("{}", fmt::join(layers_, "+")), inputs, sums));
  }

  CamResult result_of(std::size_t sample, const std::string& stream, const std::string& layer,
                      const std::vector<std::size_t>& inputs, std::span<const CamMap> sums) {
    CamResult r;
    r.id = samples_[sample].id;
    r.label = samples_[sample].label;
    r.modality = stream.empty() ? names_[0] : stream;
    r.layer = layer;
    r.seen = samples_[sample].seen[inputs[0]];
    r.height = r.seen.height;
    r.width = r.seen.width;
    const std::vector<double> logits = row_of(pass_.logits, sample), p = softmax(logits);
    r.predicted = most_likely(logits);
    r.target = pass_.targets[sample];
    r.probability = p[static_cast<std::size_t>(r.target)];
    FinishedMap finished = finish_map(sums, r.height, r.width);
    if (!is_finite(logits) || !inputs_are_finite(sample, inputs)) finished = {CamStatus::not_finite, {}};
    r.status = finished.status;
    r.map.assign(finished.map.values.begin(), finished.map.values.end());
    r.overlay = r.map.empty() ? r.seen : overlay_of(r.seen, r.map);
    if (r.status == CamStatus::ok) score(r, sample, inputs, finished.map);
    return r;
  }

  // A ReLU may take a NaN for zero, so that it never reaches a layer.
  bool inputs_are_finite(std::size_t sample, const std::vector<std::size_t>& inputs) const {
    return std::ranges::all_of(
        inputs, [&](std::size_t i) { return is_finite(row_of(input_.images[i].to(Device::cpu), sample)); });
  }

  void score(CamResult& r, std::size_t sample, const std::vector<std::size_t>& inputs, const CamMap& map) {
    const bool of_photograph = std::ranges::find(inputs, place_of_photograph()) != inputs.end();
    if (of_photograph) score_regions(r, samples_[sample].regions, map);
    if (options_.faithfulness_steps == 0) return;
    const auto at = static_cast<std::int64_t>(sample);
    const Faithfulness f = faithfulness(model_, samples_of(input_, at, at + 1), inputs, map, r.target,
                                        {.steps = options_.faithfulness_steps, .batch = options_.batch});
    r.insertion = f.insertion;
    r.deletion = f.deletion;
  }

  std::size_t place_of_photograph() const {
    return static_cast<std::size_t>(std::ranges::find(names_, name_of(Modality::fundus)) - names_.begin());
  }

  void score_regions(CamResult& r, const InputRegions& regions, const CamMap& map) const {
    const auto energy = [&](const MapRegion& region) -> std::optional<Energy> {
      const Energy e = energy_in(map, region);
      return e.area > 0 ? std::optional(e) : std::nullopt;
    };
    if (const auto& d = regions.disc) r.disc = energy({d->x0, d->y0, d->x1, d->y1, 0});
    if (const auto& f = regions.fovea) {
      const double radius = options_.fovea_radius * std::min(r.height, r.width);
      r.fovea = energy({f->x, f->y, f->x, f->y, radius});
    }
  }

  Model& model_;
  const ModelInput& input_;
  const std::vector<std::string>& names_;
  const std::vector<CamSample>& samples_;
  const CamOptions& options_;
  const std::vector<std::string> layers_;
  const CamPass pass_;
};

CamSample sample_from(const Dataset& dataset, int index, const InputSpec& spec, const ImageCache& cache) {
  const Sample& sample = dataset.samples[static_cast<std::size_t>(index)];
  CamSample result{.id = sample.id, .label = sample.label};
  try {
    for (const Modality modality : spec.modalities) {
      const auto cached = cache.find(index, modality);
      result.seen.push_back(!sample.has(modality) ? Image{}
                            : cached              ? picture_of(*cached, modality)
                                                  : picture_of(load_input(sample, modality, spec), modality));
    }
    result.regions = regions_in_input(sample, spec);
  } catch (const Error& error) {
    fail(fmt::format("{}: {}", where(dataset, sample), error.what()));
  }
  return result;
}

}  // namespace

void check_cam_options(const Model& model, const CamOptions& options) {
  resolve_cam_layers(model, options.layers);
  const std::int64_t classes = model.config().classes;
  if (options.target && (*options.target < 0 || *options.target >= classes))
    fail_usage(
        fmt::format("there is no class {}; the model has classes 0 to {}", *options.target, classes - 1));
}

std::vector<CamResult> cam_maps(Model& model, const ModelInput& input, const std::vector<std::string>& names,
                                const std::vector<CamSample>& samples, const CamOptions& options) {
  check_cam_options(model, options);
  return BatchMaps(model, input, names, samples, options).results();
}

void cam_maps(Model& model, Inputs& inputs, const RunConfig& config, const Dataset& dataset,
              const std::vector<int>& indices, const CamOptions& options,
              const std::function<void(std::vector<CamResult>)>& take) {
  const InputSpec spec = input_spec(config);
  const auto cache = std::make_shared<ImageCache>(std::int64_t{64} << 20);
  Loader loader(dataset, indices, spec, inputs.loader_options(cache));
  Batch batch;
  loader.start(0);
  while (loader.next(batch)) {
    std::vector<CamSample> samples;
    for (const int index : batch.samples) samples.push_back(sample_from(dataset, index, spec, *cache));
    take(cam_maps(model, inputs.of(batch), config.model.modalities, samples, options));
  }
}

std::vector<CamResult> cam_maps(Model& model, Inputs& inputs, const RunConfig& config, const Dataset& dataset,
                                const std::vector<int>& indices, const CamOptions& options) {
  std::vector<CamResult> all;
  cam_maps(model, inputs, config, dataset, indices, options, [&](std::vector<CamResult> results) {
    all.insert(all.end(), std::make_move_iterator(results.begin()), std::make_move_iterator(results.end()));
  });
  return all;
}

}  // namespace fovea
