// See mistakes.hpp.
#include "mistakes.hpp"

#include <fmt/format.h>

#include <map>

#include "input_picture.hpp"

namespace fovea {
namespace {

Picture picture_of(const Sample& sample, Modality modality, const InputSpec& spec) {
  const std::vector<Image> pictures = input_pictures(load_input(sample, modality, spec), modality);
  const std::size_t middle = pictures.size() / 2;
  std::string caption{name_of(modality)};
  if (pictures.size() > 1) caption += fmt::format(", slice {} of {}", middle + 1, pictures.size());
  return {caption, picture_bytes(pictures[middle])};
}

}  // namespace

std::vector<Mistake> worst_mistakes(const Outcome& outcome, const Dataset& dataset, const InputSpec& spec,
                                    std::size_t count) {
  std::map<std::string, const Sample*> by_id;
  for (const Sample& sample : dataset.samples) by_id[sample.id] = &sample;
  std::vector<Mistake> mistakes;
  for (Prediction& prediction : most_confident_mistakes(outcome.predictions, count)) {
    const Sample& sample = *by_id.at(prediction.id);
    Mistake& mistake = mistakes.emplace_back(std::move(prediction), std::vector<Picture>{});
    for (const Modality modality : spec.modalities)
      if (sample.has(modality)) mistake.pictures.push_back(picture_of(sample, modality, spec));
  }
  return mistakes;
}

}  // namespace fovea
