// See inputs.hpp.
#include "inputs.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "batches.hpp"
#include "kernels/augment/augment.hpp"
#include "kernels/runtime/stream.hpp"

namespace fovea {
namespace {

View bytes_of(const Tensor& tensor, std::int64_t begin, std::int64_t count) {
  return {static_cast<std::uint8_t*>(tensor.view().data) + begin, {count}, Dtype::u8, tensor.device()};
}

std::int64_t image_bytes(const Tensor& images) { return images.numel() / images.shape()[0]; }

Tensor maps_of(const Batch::Input& part, Device device) {
  std::vector<double> values;
  for (const Batch::Raw& raw : part.raw) {
    const ResampleParameters& m = raw.map;
    values.insert(values.end(), {m.xx, m.xy, m.x0, m.yx, m.yy, m.y0, m.gain, m.offset});
  }
  return Tensor::from<double>(std::span<const double>(values),
                              {static_cast<std::int64_t>(part.raw.size()), AugmentProblem::parameters},
                              Dtype::f64, device);
}

Tensor index_of(const std::vector<std::int64_t>& index, Device device) {
  return Tensor::from<std::int64_t>(std::span<const std::int64_t>(index),
                                    {static_cast<std::int64_t>(index.size())}, Dtype::i64, device);
}

}  // namespace

void Uploader::upload(const View& to, const std::vector<const std::vector<std::uint8_t>*>& parts) {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % slots_.size();
  if (slot.free) slot.free->synchronize();
  if (!slot.memory || slot.memory->view().bytes() < to.bytes()) {
    slot.memory = std::make_unique<PinnedMemory>(Shape{to.bytes()}, Dtype::u8, device_);
  }
  View from = slot.memory->view();
  from.shape = {to.bytes()};
  const std::size_t part_bytes = static_cast<std::size_t>(to.bytes()) / parts.size();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] != nullptr)
      std::memcpy(from.as<std::uint8_t>() + i * part_bytes, parts[i]->data(), part_bytes);
  }
  copy_async(to, from);
  if (!slot.free) slot.free = std::make_unique<Event>(device_);
  slot.free->record(current_stream(device_));
}

Inputs::Inputs(const RunConfig& config, const Dataset& dataset)
    : config_(config),
      dataset_(dataset),
      device_(parse_device(config.device)),
      dtype_(config.amp ? Dtype::bf16 : config.model.dtype),
      uploader_(device_) {}

bool Inputs::keep(const std::vector<int>& samples) {
  if (device_ == Device::cpu) return false;
  const InputSpec spec = input_spec(config_);
  std::map<Modality, std::map<int, std::int64_t>> places;
  std::int64_t bytes = 0;
  for (const Modality modality : spec.modalities) {
    std::map<int, std::int64_t>& place_of = places[modality];
    for (const int sample : samples) {
      if (!dataset_.samples[static_cast<std::size_t>(sample)].has(modality)) continue;
      place_of.emplace(sample, static_cast<std::int64_t>(place_of.size()));
    }
    bytes +=
        static_cast<std::int64_t>(place_of.size()) * config_.height * config_.width * spec.channels(modality);
  }
  if (bytes > device_memory_info(device_).free / 3) return false;
  for (auto& [modality, place_of] : places) {
    if (place_of.empty()) continue;
    const Shape shape{static_cast<std::int64_t>(place_of.size()), config_.height, config_.width,
                      spec.channels(modality)};
    kept_[modality] = {Tensor::empty(shape, Dtype::u8, device_), std::move(place_of)};
  }
  resident_ = std::make_shared<ResidentImages>();
  return true;
}

std::int64_t Inputs::kept_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [modality, kept] : kept_) bytes += kept.images.view().bytes();
  return bytes;
}

LoaderOptions Inputs::loader_options(std::shared_ptr<ImageCache> cache) const {
  LoaderOptions options;
  options.batch_size = static_cast<int>(config_.batch);
  options.seed = config_.seed;
  options.workers = static_cast<int>(config_.workers);
  options.cache = std::move(cache);
  options.raw = device_ != Device::cpu;
  options.resident = resident_;
  return options;
}

ModelInput Inputs::of(const Batch& batch) {
  ModelInput input;
  for (const Batch::Input& part : batch.inputs) {
    input.images.push_back(device_ == Device::cpu ? on_host(batch, part) : on_device(batch, part));
    const bool all =
        std::all_of(part.present.begin(), part.present.end(), [](std::uint8_t p) { return p != 0; });
    input.present.push_back(all ? std::vector<std::uint8_t>{} : part.present);
  }
  return input;
}

Tensor Inputs::on_host(const Batch& batch, const Batch::Input& part) const {
  const auto n = static_cast<std::int64_t>(batch.samples.size());
  return Tensor::from<float>(std::span<const float>(part.values),
                             {n, config_.height, config_.width, part.channels}, dtype_);
}

Tensor Inputs::on_device(const Batch& batch, const Batch::Input& part) {
  const auto kept = kept_.find(part.modality);
  Tensor images, index;
  if (kept != kept_.end()) {
    index = places_in(kept->second, batch, part);
    images = kept->second.images;
  } else {
    images = upload_batch(part);
    std::vector<std::int64_t> places;
    for (std::size_t i = 0; i < part.raw.size(); ++i) {
      places.push_back(part.raw[i].image ? static_cast<std::int64_t>(i) : -1);
    }
    index = index_of(places, device_);
  }
  const AugmentProblem p{.dtype = dtype_,
                         .images = images.shape()[0],
                         .n = static_cast<std::int64_t>(batch.samples.size()),
                         .h = config_.height,
                         .w = config_.width,
                         .c = part.channels};
  Tensor x = Tensor::empty(p.x_shape(), dtype_, device_);
  dispatch(augment_forward, p,
           {images.view(), index.view(), maps_of(part, device_).view(), rules_of(part).view(), x.view()});
  return x;
}

// Brings what is not there yet.
Tensor Inputs::places_in(Kept& kept, const Batch& batch, const Batch::Input& part) {
  std::vector<std::int64_t> places;
  for (std::size_t i = 0; i < part.raw.size(); ++i) {
    const int sample = batch.samples[i];
    const auto found = kept.place_of.find(sample);
    places.push_back(part.present[i] ? found->second : -1);
    const Batch::Raw& raw = part.raw[i];
    if (!raw.image || resident_->mean(sample, part.modality)) continue;
    const std::int64_t bytes = image_bytes(kept.images);
    uploader_.upload(bytes_of(kept.images, places.back() * bytes, bytes), {&raw.image->pixels});
    resident_->insert(sample, part.modality, raw.mean);
  }
  return index_of(places, device_);
}

Tensor Inputs::upload_batch(const Batch::Input& part) {
  Tensor images = Tensor::empty(
      {static_cast<std::int64_t>(part.raw.size()), config_.height, config_.width, part.channels}, Dtype::u8,
      device_);
  std::vector<const std::vector<std::uint8_t>*> parts;
  for (const Batch::Raw& raw : part.raw) parts.push_back(raw.image ? &raw.image->pixels : nullptr);
  uploader_.upload(bytes_of(images, 0, images.numel()), parts);
  return images;
}

const Tensor& Inputs::rules_of(const Batch::Input& part) {
  Tensor& rules = rules_[part.modality];
  if (!rules) {
    std::vector<double> values;
    for (int c = 0; c < part.channels; ++c) {
      const Normalisation rule = normalisation_of(part.modality, c);
      values.insert(values.end(), {rule.mean, rule.deviation});
    }
    rules = Tensor::from<double>(std::span<const double>(values), {part.channels, 2}, Dtype::f64, device_);
  }
  return rules;
}

}  // namespace fovea
