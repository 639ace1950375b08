// See probe_input.hpp.
#include "probe_input.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>

#include "autograd/engine.hpp"
#include "kernels/runtime/error.hpp"
#include "nn/safetensors.hpp"
#include "tensor_io.hpp"

namespace fovea {
namespace {

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

}  // namespace

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

}  // namespace fovea
