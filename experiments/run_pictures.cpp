// See run_pictures.hpp.
#include "run_pictures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cam_maps.hpp"
#include "input_picture.hpp"

namespace fovea {
namespace {

constexpr std::size_t most_mistakes = 8, most_classes = 8;
constexpr int most_side = 1600;  // of a sheet, pixels

double confidence(const Prediction& p) { return p.probabilities.at(static_cast<std::size_t>(p.predicted)); }

// Of each class the sample that is right with the highest probability.
std::vector<const Prediction*> recognised_best(const std::vector<Prediction>& predictions) {
  std::map<int, const Prediction*> best;
  for (const Prediction& p : predictions) {
    if (p.label < 0 || p.label != p.predicted) continue;
    const Prediction*& so_far = best[p.label];
    if (so_far == nullptr || confidence(p) > confidence(*so_far)) so_far = &p;
  }
  std::vector<const Prediction*> list;
  for (const auto& [label, p] : best) {
    if (list.size() < most_classes) list.push_back(p);
  }
  return list;
}

// A result's two pictures: what the network saw, and the map over it, or why there is none.
void add_pictures(const CamResult& result, std::vector<Picture>& pictures) {
  pictures.push_back({result.modality, picture_bytes(result.seen)});
  if (result.status == CamStatus::ok) {
    pictures.push_back({fmt::format("map of {}", result.layer), picture_bytes(result.overlay)});
  } else {
    pictures.back().caption += fmt::format("; no map: it is {}", name_of(result.status));
  }
}

}  // namespace

RunPictures run_pictures(Model& model, Inputs& inputs, const RunConfig& config, const Dataset& dataset,
                         const std::vector<Prediction>& predictions) {
  std::map<std::string, int> index_of;
  for (std::size_t i = 0; i < dataset.samples.size(); ++i)
    index_of[dataset.samples[i].id] = static_cast<int>(i);
  RunPictures found;
  std::vector<int> wrong, right;
  for (Prediction& p : most_confident_mistakes(predictions, most_mistakes)) {
    wrong.push_back(index_of.at(p.id));
    found.mistakes.push_back({std::move(p), {}});
  }
  for (const Prediction* p : recognised_best(predictions)) right.push_back(index_of.at(p->id));
  const CamOptions options{.batch = static_cast<int>(config.batch)};
  for (const CamResult& result : cam_maps(model, inputs, config, dataset, wrong, options)) {
    const auto mistake =
        std::ranges::find_if(found.mistakes, [&](const Mistake& m) { return m.prediction.id == result.id; });
    add_pictures(result, mistake->pictures);
  }
  const std::vector<CamResult> sheet = cam_maps(model, inputs, config, dataset, right, options);
  if (!sheet.empty()) {
    found.maps.push_back(
        {"Of each class the sample that is right with the highest probability: what the network saw, and the "
         "class activation map (Grad-CAM) of its class over it.",
         jpeg_bytes(shrunk(cam_sheet(sheet, dataset.classes), most_side))});
  }
  return found;
}

}  // namespace fovea
