// Loader. See loader.hpp.
//
// Workers take positions in order and put what they made into `ready_`; none runs further ahead of the
// consumer than the queue is long. In training they go on into the next epoch, whose order is known already.
#include "data/loader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include "data/dataset_rules.hpp"
#include "data/oct.hpp"
#include "data/rng.hpp"
#include "data/visual_field.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr std::array<Normalisation, 3> imagenet{{{0.485, 0.229}, {0.456, 0.224}, {0.406, 0.225}}};

Image load_fundus(const Sample& sample, const InputSpec& spec) {
  Image image = read_image(sample.fundus, 3);
  if (sample.roi.width > 0) {
    try {
      image = crop(image, sample.roi);
    } catch (const Error& error) {
      fail(fmt::format("{}: {}", sample.fundus, error.what()));
    }
  }
  return resize(image, spec.image_height, spec.image_width);
}

// k B-scans as the channels of one image.
Image load_oct(const Sample& sample, const InputSpec& spec) {
  Image stack = make_image(spec.image_height, spec.image_width, spec.oct_slices);
  const auto paths = pick_slices(sample.oct, spec.oct_slices);
  const std::size_t pixels = static_cast<std::size_t>(spec.image_height) * spec.image_width;
  for (std::size_t k = 0; k < paths.size(); ++k) {
    const Image slice = resize(read_image(paths[k], 1), spec.image_height, spec.image_width);
    for (std::size_t i = 0; i < pixels; ++i) stack.pixels[i * paths.size() + k] = slice.pixels[i];
  }
  return stack;
}

void check_loader(const InputSpec& spec, const LoaderOptions& options) {
  const auto at_least = [](const char* name, std::int64_t value, std::int64_t least) {
    if (value < least) fail_usage(fmt::format("{} is {}; it must be at least {}", name, value, least));
  };
  at_least("the batch size", options.batch_size, 1);
  at_least("the number of workers", options.workers, 1);
  at_least("the number of batches made ahead", options.prefetch, 1);
  at_least("the image height", spec.image_height, 1);
  at_least("the image width", spec.image_width, 1);
  at_least("the number of OCT slices", spec.oct_slices, 1);
  if (spec.modalities.empty()) fail_usage("no modality to load");
  if (options.augment) draw_augmentation(*options.augment, 0, 0, 0);  // checks them
}

int count_batches(int samples, const LoaderOptions& options) {
  const int batches = (samples + options.batch_size - 1) / options.batch_size;
  const bool one_left =
      options.training && batches > 1 && options.batch_size > 1 && samples % options.batch_size == 1;
  return one_left ? batches - 1 : batches;
}

}  // namespace

int InputSpec::channels(Modality modality) const {
  return modality == Modality::fundus ? 3 : modality == Modality::oct ? oct_slices : 1;
}

Normalisation normalisation_of(Modality modality, int channel) {
  return modality == Modality::fundus ? imagenet.at(static_cast<std::size_t>(channel))
                                      : Normalisation{0.5, 0.5};
}

Image load_input(const Sample& sample, Modality modality, const InputSpec& spec) {
  if (!sample.has(modality)) fail(fmt::format("the sample '{}' has no {}", sample.id, name_of(modality)));
  if (modality == Modality::vf) return render_field(sample.field, spec.image_height, spec.image_width);
  Image image = modality == Modality::fundus ? load_fundus(sample, spec) : load_oct(sample, spec);
  return spec.mirror_left_eyes && sample.eye == Eye::left ? flip_horizontal(image) : image;
}

void normalise(const Image& image, Modality modality, float* out) {
  const auto channels = static_cast<std::size_t>(image.channels);
  std::vector<float> table(channels * 256);  // every level of every channel
  for (std::size_t c = 0; c < channels; ++c) {
    const Normalisation rule = normalisation_of(modality, static_cast<int>(c));
    for (int level = 0; level < 256; ++level)
      table[c * 256 + level] = static_cast<float>(normalised(level, rule.mean, rule.deviation));
  }
  const std::size_t pixels = static_cast<std::size_t>(image.height) * image.width;
  const std::uint8_t* in = image.pixels.data();
  for (std::size_t i = 0; i < pixels; ++i)
    for (std::size_t c = 0; c < channels; ++c) *out++ = table[c * 256 + *in++];
}

std::shared_ptr<const Image> ImageCache::find(int sample, Modality modality) const {
  const std::lock_guard lock(mutex_);
  const auto found = images_.find({sample, modality});
  return found == images_.end() ? nullptr : found->second;
}

void ImageCache::insert(int sample, Modality modality, std::shared_ptr<const Image> image) {
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<std::int64_t>(image->pixels.size());
  if (bytes_ + size > max_bytes_) return;
  if (images_.emplace(std::pair(sample, modality), std::move(image)).second) bytes_ += size;
}

std::int64_t ImageCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::optional<double> ResidentImages::mean(int sample, Modality modality) const {
  const std::lock_guard lock(mutex_);
  const auto found = means_.find({sample, modality});
  return found == means_.end() ? std::nullopt : std::optional(found->second);
}

void ResidentImages::insert(int sample, Modality modality, double mean) {
  const std::lock_guard lock(mutex_);
  means_[{sample, modality}] = mean;
}

Loader::Loader(const Dataset& dataset, std::vector<int> indices, InputSpec spec, LoaderOptions options)
    : dataset_(dataset), indices_(std::move(indices)), spec_(std::move(spec)), options_(std::move(options)) {
  check_loader(spec_, options_);
  if (indices_.empty()) fail(fmt::format("{}: no samples to load", dataset_.source));
  for (const int i : indices_)
    if (i < 0 || i >= static_cast<int>(dataset_.samples.size()))
      fail(fmt::format("{}: no sample {}; there are {}", dataset_.source, i, dataset_.samples.size()));
  if (!options_.cache) options_.cache = std::make_shared<ImageCache>(options_.cache_bytes);
  if (options_.augment && std::ranges::find(spec_.modalities, Modality::vf) != spec_.modalities.end())
    options_.augment->flips = false;
  batches_ = count_batches(size(), options_);
  for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  task_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::start(int epoch, int batch) {
  if (epoch < 0 || batch < 0 || batch > batches_)
    fail(fmt::format("no batch {} in epoch {}; an epoch has {} batches", batch, epoch, batches_));
  const std::lock_guard lock(mutex_);
  const std::int64_t position = static_cast<std::int64_t>(epoch) * batches_ + batch;
  if (epoch_ < 0 || position != next_wanted_) {
    ++round_;
    ready_.clear();
    next_task_ = next_wanted_ = position;
  }
  epoch_ = epoch;
  batch_ = batch;
  end_ = options_.training ? std::numeric_limits<std::int64_t>::max()
                           : (static_cast<std::int64_t>(epoch) + 1) * batches_;
  task_.notify_all();
}

bool Loader::next(Batch& batch) {
  if (epoch_ < 0) fail("the loader was not started");
  if (batch_ == batches_) return false;
  const auto begin = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  made_.wait(lock, [&] { return ready_.contains(next_wanted_); });
  wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Made& made = ready_.at(next_wanted_);
  if (made.error) std::rethrow_exception(made.error);
  batch = std::move(made.batch);
  ready_.erase(next_wanted_++);
  ++batch_;
  task_.notify_all();
  return true;
}

bool Loader::has_task() const {
  return next_task_ < end_ && next_task_ < next_wanted_ + std::max(options_.prefetch, options_.workers);
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    task_.wait(lock, [&] { return stop_ || has_task(); });
    if (stop_) return;
    const std::int64_t position = next_task_++, round = round_;
    lock.unlock();
    Made made;
    try {
      made.batch = make_batch(position);
    } catch (...) {
      made.error = std::current_exception();
    }
    lock.lock();
    if (round != round_) continue;
    ready_[position] = std::move(made);
    made_.notify_all();
  }
}

int Loader::first_of(int batch) const { return batch == batches_ ? size() : batch * options_.batch_size; }

std::vector<int> Loader::samples_of(std::int64_t position) const {
  std::vector<int> order = indices_;
  const auto epoch = static_cast<std::uint32_t>(position / batches_);
  const int batch = static_cast<int>(position % batches_);
  if (options_.training) PhiloxStream(options_.seed, Purpose::shuffle, epoch).shuffle(order);
  return {order.begin() + first_of(batch), order.begin() + first_of(batch + 1)};
}

Batch Loader::make_batch(std::int64_t position) const {
  Batch batch;
  batch.samples = samples_of(position);
  const std::size_t size = batch.samples.size();
  const std::size_t pixels = static_cast<std::size_t>(spec_.image_height) * spec_.image_width;
  for (const Modality modality : spec_.modalities) {
    const int channels = spec_.channels(modality);
    Batch::Input input;
    input.modality = modality;
    input.channels = channels;
    input.present.resize(size);
    if (options_.raw) {
      input.raw.resize(size);
    } else {
      input.values.resize(size * pixels * channels);
    }
    batch.inputs.push_back(std::move(input));
  }
  for (std::size_t i = 0; i < size; ++i) {
    const int sample = batch.samples[i];
    batch.labels.push_back(dataset_.samples[static_cast<std::size_t>(sample)].label);
    std::optional<Augmentation> drawn;
    if (options_.augment)
      drawn =
          draw_augmentation(*options_.augment, options_.seed, static_cast<int>(position / batches_), sample);
    for (Batch::Input& input : batch.inputs) fill(input, i, sample, drawn ? &*drawn : nullptr);
  }
  return batch;
}

void Loader::fill(Batch::Input& input, std::size_t place, int sample,
                  const Augmentation* augmentation) const {
  if (!dataset_.samples[static_cast<std::size_t>(sample)].has(input.modality)) return;
  input.present[place] = 1;
  if (options_.raw) {
    input.raw[place] = raw_of(sample, input.modality, augmentation);
    return;
  }
  const auto image = image_of(sample, input.modality);
  float* out = input.values.data() + place * image->pixels.size();
  normalise(augmentation != nullptr ? augment(*image, input.modality, *augmentation) : *image, input.modality,
            out);
}

Batch::Raw Loader::raw_of(int sample, Modality modality, const Augmentation* augmentation) const {
  Batch::Raw raw;
  std::optional<double> mean;
  if (options_.resident) mean = options_.resident->mean(sample, modality);
  if (!mean) {
    raw.image = image_of(sample, modality);
    mean = mean_of(*raw.image);
  }
  raw.mean = *mean;
  if (augmentation != nullptr)
    raw.map = resample_parameters(*augmentation, modality, spec_.image_height, spec_.image_width, raw.mean);
  return raw;
}

std::shared_ptr<const Image> Loader::image_of(int index, Modality modality) const {
  if (auto image = options_.cache->find(index, modality)) return image;
  const Sample& sample = dataset_.samples[static_cast<std::size_t>(index)];
  try {
    auto image = std::make_shared<const Image>(load_input(sample, modality, spec_));
    options_.cache->insert(index, modality, image);
    return image;
  } catch (const Error& error) {
    fail(fmt::format("{}: {}", where(dataset_, sample), error.what()));
  }
}

}  // namespace fovea
