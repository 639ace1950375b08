// Inputs: from a loader's batches to tensors where the network runs.
//
// On the CPU the loader makes the values. For a device it gives 8-bit images and what to make of them, and
// augment.forward does it there: images that are asked to stay (keep()) travel once a run, others with every batch.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "data/loader.hpp"
#include "kernels/runtime/memory.hpp"
#include "models/zoo.hpp"
#include "run_config.hpp"

namespace fovea {

/// Copies to a device from pinned memory, for which the host does not wait.
class Uploader {
 public:
  explicit Uploader(Device device) : device_(device) {}
  /// One part after another into `to`, a view of bytes; a null part is left out, its bytes undefined.
  void upload(const View& to, const std::vector<const std::vector<std::uint8_t>*>& parts);

 private:
  struct Slot {
    std::unique_ptr<PinnedMemory> memory;
    std::unique_ptr<Event> free;  // when the copy from it is done
  };
  Device device_;
  std::array<Slot, 4> slots_;
  std::size_t next_ = 0;
};

class Inputs {
 public:
  Inputs(const RunConfig& config, const Dataset& dataset);

  /// Images of these samples stay on the device once they were there, if all of them fit into a third of what is free;
  /// false where they do not, or on the CPU.
  bool keep(const std::vector<int>& samples);
  /// Bytes of the device that keep() took.
  std::int64_t kept_bytes() const;

  /// For a loader whose batches come here: in the order given, without augmentation.
  LoaderOptions loader_options(std::shared_ptr<ImageCache> cache) const;

  /// On the device of the config; in bf16 with amp.
  ModelInput of(const Batch& batch);

 private:
  struct Kept {
    Tensor images;  // M,H,W,C
    std::map<int, std::int64_t> place_of;
  };
  Tensor on_host(const Batch& batch, const Batch::Input& part) const;
  Tensor on_device(const Batch& batch, const Batch::Input& part);
  Tensor places_in(Kept& kept, const Batch& batch, const Batch::Input& part);
  Tensor upload_batch(const Batch::Input& part);
  const Tensor& rules_of(const Batch::Input& part);

  const RunConfig config_;
  const Dataset& dataset_;
  Device device_;
  Dtype dtype_;
  std::map<Modality, Kept> kept_;
  std::map<Modality, Tensor> rules_;  // mean and deviation of each channel
  std::shared_ptr<ResidentImages> resident_;
  Uploader uploader_;
};

}  // namespace fovea
