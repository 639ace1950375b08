// Loader: from samples to batches as the network takes them, decoded ahead of the step that needs them.
//
// Everything random is a function of (seed, epoch, sample), so batches do not depend on the number of
// workers, on the order in which they finish or on where a run was resumed. Images are decoded and resized
// once and kept as 8 bits a channel while there is room; later epochs only augment and normalise.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "data/augment.hpp"
#include "data/dataset.hpp"
#include "data/image.hpp"

namespace fovea {

/// What the network takes.
struct InputSpec {
  std::vector<Modality> modalities{Modality::fundus};
  int image_height = 224, image_width = 224;
  int oct_slices = 3;
  /// Photographs and B-scans of left eyes are mirrored, so that all are as of right eyes, as fields are.
  bool mirror_left_eyes = true;

  int channels(Modality modality) const;  // fundus 3, oct oct_slices, vf 1
};

/// x = (pixel / 255 - mean) / deviation. fundus: ImageNet's mean and deviation of each of R, G, B
/// (torchvision's, which pretrained weights expect); oct and vf: 0.5 and 0.5, that is -1..1.
struct Normalisation {
  double mean, deviation;
};
Normalisation normalisation_of(Modality modality, int channel);

/// H,W,C with C = spec.channels(modality), without augmentation: decoded, cut to its box (fundus), resized as
/// Pillow does, mirrored where it is a left eye. Error, naming the file: unreadable; the box leaves the
/// image; the sample lacks the modality.
Image load_input(const Sample& sample, Modality modality, const InputSpec& spec);

/// H,W,C floats into `out`.
void normalise(const Image& image, Modality modality, float* out);

struct Batch {
  /// An image as augment.forward takes it.
  struct Raw {
    std::shared_ptr<const Image> image;  // null: the sample lacks the modality, or its image is resident
    double mean = 0;                     // of its pixels
    ResampleParameters map;
  };
  struct Input {
    Modality modality = Modality::fundus;
    int channels = 0;
    std::vector<float> values;          // N,H,W,C, normalised; zeros where the sample lacks the modality
    std::vector<std::uint8_t> present;  // N; 1: the sample has it
    std::vector<Raw> raw;               // N, in place of `values` where the options say so
  };
  std::vector<int> samples;          // N; indices into the dataset
  std::vector<std::int64_t> labels;  // N; -1 where there is none
  std::vector<Input> inputs;         // one a modality, in the order of the spec
};

/// Images that were decoded and resized, by sample and modality; safe to use from several threads. When it is
/// full, what is in it stays: with every sample used once an epoch no other rule finds more. Loaders may
/// share one if dataset and spec are the same.
class ImageCache {
 public:
  explicit ImageCache(std::int64_t max_bytes) : max_bytes_(max_bytes) {}
  std::shared_ptr<const Image> find(int sample, Modality modality) const;  // null: not there
  void insert(int sample, Modality modality, std::shared_ptr<const Image> image);
  std::int64_t bytes() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<int, Modality>, std::shared_ptr<const Image>> images_;
  std::int64_t max_bytes_, bytes_ = 0;
};

/// Which images lie where the network runs, so that a loader need not decode them again; safe to use from several
/// threads. A loader may give an image once more that became resident after it began the batch.
class ResidentImages {
 public:
  /// The mean over the pixels of a resident image.
  std::optional<double> mean(int sample, Modality modality) const;
  void insert(int sample, Modality modality, double mean);

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<int, Modality>, double> means_;
};

inline constexpr std::int64_t default_cache_bytes = std::int64_t{2} << 30;

struct LoaderOptions {
  int batch_size = 8;
  /// Shuffled anew each epoch, and a last batch of one sample joins the batch before it (one sample may have
  /// no batch statistics). Otherwise in the order given, all batches as they come.
  bool training = false;
  std::optional<AugmentOptions> augment = {};
  std::uint64_t seed = 0;
  int workers = 1;
  int prefetch = 2;  // batches made ahead
  std::int64_t cache_bytes = default_cache_bytes;
  std::shared_ptr<ImageCache> cache = {};               // null: one of its own, of cache_bytes
  bool raw = false;                                     // images and what to make of them, instead of values
  std::shared_ptr<const ResidentImages> resident = {};  // with raw; null: none is
};

/// Usage: loader.start(epoch); while (loader.next(batch)) ...
class Loader {
 public:
  /// The dataset must outlive the loader. UsageError: options out of range. Error: no indices, or one out of
  /// range.
  Loader(const Dataset& dataset, std::vector<int> indices, InputSpec spec, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int batches() const { return batches_; }  // an epoch
  int size() const { return static_cast<int>(indices_.size()); }

  /// Goes to a batch of an epoch, whatever was read before: the batches from there on are those of an
  /// uninterrupted run.
  void start(int epoch, int batch = 0);

  /// The next batch of the epoch, false at its end. Rethrows what went wrong in the making of this batch,
  /// naming manifest, row and file.
  bool next(Batch& batch);

  /// Seconds that next() has waited for a batch, since the loader was made.
  double wait_seconds() const { return wait_seconds_; }

 private:
  struct Made {
    Batch batch;
    std::exception_ptr error;
  };

  void work();
  bool has_task() const;
  std::vector<int> samples_of(std::int64_t position) const;
  Batch make_batch(std::int64_t position) const;
  void fill(Batch::Input& input, std::size_t place, int sample, const Augmentation* augmentation) const;
  Batch::Raw raw_of(int sample, Modality modality, const Augmentation* augmentation) const;
  std::shared_ptr<const Image> image_of(int sample, Modality modality) const;
  int first_of(int batch) const;

  const Dataset& dataset_;
  const std::vector<int> indices_;
  const InputSpec spec_;
  LoaderOptions options_;
  int batches_ = 0;
  double wait_seconds_ = 0;
  int epoch_ = -1, batch_ = 0;  // of next(); epoch_ -1: not started

  // Positions count batches over all epochs: epoch * batches_ + batch.
  std::mutex mutex_;
  std::condition_variable task_, made_;
  std::map<std::int64_t, Made> ready_;
  std::int64_t next_task_ = 0, next_wanted_ = 0, end_ = 0;
  std::int64_t round_ = 0;  // counts the jumps of start(); work begun before one is thrown away
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fovea
