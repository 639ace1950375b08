// See cam_scores.hpp.
#include "eval/cam_scores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

/// An image of one sample: H,W,C values and what takes their place.
struct Layers {
  std::int64_t height, width, channels;
  std::vector<double> image, blurred;
};

std::vector<double> gaussian(double deviation) {
  const auto reach = static_cast<std::int64_t>(std::ceil(3 * deviation));
  std::vector<double> weights;
  for (std::int64_t i = -reach; i <= reach; ++i)
    weights.push_back(std::exp(-0.5 * std::pow(static_cast<double>(i) / deviation, 2)));
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w /= sum;
  return weights;
}

// Along rows (`down` false) or columns.
std::vector<double> blurred_along(const Layers& l, const std::vector<double>& values,
                                  const std::vector<double>& weights, bool down) {
  const auto reach = static_cast<std::int64_t>(weights.size() / 2);
  std::vector<double> result(values.size());
  const auto at = [&](std::int64_t y, std::int64_t x) {
    return static_cast<std::size_t>((y * l.width + x) * l.channels);
  };
  for (std::int64_t y = 0; y < l.height; ++y) {
    for (std::int64_t x = 0; x < l.width; ++x) {
      for (std::int64_t i = -reach; i <= reach; ++i) {
        const std::size_t from = down ? at(std::clamp<std::int64_t>(y + i, 0, l.height - 1), x)
                                      : at(y, std::clamp<std::int64_t>(x + i, 0, l.width - 1));
        for (std::size_t c = 0; c < static_cast<std::size_t>(l.channels); ++c)
          result[at(y, x) + c] += weights[static_cast<std::size_t>(i + reach)] * values[from + c];
      }
    }
  }
  return result;
}

Layers layers_of(const Tensor& image) {
  const Shape& s = image.shape();
  Layers l{s[1], s[2], s[3], image.to_doubles(), {}};
  const auto side = static_cast<double>(std::min(l.height, l.width));
  const std::vector<double> weights = gaussian(std::max(1.0, 5 * side / 224));
  l.blurred = blurred_along(l, blurred_along(l, l.image, weights, false), weights, true);
  return l;
}

enum class Curve { insertion, deletion };

/// The images of one curve, step by step.
class Steps {
 public:
  Steps(const ModelInput& input, std::span<const std::size_t> changed, const CamMap& map, int count)
      : input_(input), changed_(changed.begin(), changed.end()), order_(ranked_pixels(map)), count_(count) {
    for (const std::size_t i : changed_) {
      layers_.push_back(layers_of(input.images.at(i)));
      if (layers_.back().height != map.height || layers_.back().width != map.width) {
        fail(fmt::format("a map of {} x {} is not of an image of {} x {}", map.height, map.width,
                         layers_.back().height, layers_.back().width));
      }
    }
  }

  /// Steps first..last-1 as one batch.
  ModelInput batch(Curve curve, int first, int last) const {
    const std::int64_t n = last - first;
    ModelInput result;
    for (std::size_t i = 0; i < input_.images.size(); ++i) {
      const auto at = std::ranges::find(changed_, i);
      result.images.push_back(
          at == changed_.end() ? gather_rows(input_.images[i], index_of_zeros(n, input_.images[i].device()))
                               : changed_images(layers_[static_cast<std::size_t>(at - changed_.begin())],
                                                curve, first, last, input_.images[i]));
    }
    for (const std::vector<std::uint8_t>& present : input_.present)
      result.present.push_back(present.empty() ? present
                                               : std::vector(static_cast<std::size_t>(n), present[0]));
    return result;
  }

 private:
  static Tensor index_of_zeros(std::int64_t n, Device device) {
    return Tensor::zeros({n}, Dtype::i64, device);
  }

  Tensor changed_images(const Layers& l, Curve curve, int first, int last, const Tensor& like) const {
    std::vector<double> values;
    values.reserve(l.image.size() * static_cast<std::size_t>(last - first));
    for (int step = first; step < last; ++step) {
      const std::size_t begin = values.size(), channels = static_cast<std::size_t>(l.channels);
      const std::vector<double>& start = curve == Curve::insertion ? l.blurred : l.image;
      values.insert(values.end(), start.begin(), start.end());
      const std::size_t pixels = (order_.size() * static_cast<std::size_t>(step) * 2 + count_) / (2 * count_);
      for (std::size_t k = 0; k < pixels; ++k) {
        for (std::size_t c = 0; c < channels; ++c) {
          const std::size_t at = order_[k] * channels + c;
          values[begin + at] = curve == Curve::insertion ? l.image[at] : 0;
        }
      }
    }
    return Tensor::from<double>(std::span<const double>(values),
                                {last - first, l.height, l.width, l.channels}, like.dtype(), like.device());
  }

  const ModelInput& input_;
  std::vector<std::size_t> changed_, order_;
  std::size_t count_;
  std::vector<Layers> layers_;  // of the changed images
};

std::vector<double> curve_of(Model& model, const Steps& steps, Curve curve, std::int64_t target,
                             const FaithfulnessOptions& options) {
  std::vector<double> probabilities;
  for (int first = 0; first <= options.steps; first += options.batch) {
    const int last = std::min(first + options.batch, options.steps + 1);
    const Tensor p = softmax(model.forward(steps.batch(curve, first, last), {.stochastic = false}));
    const std::vector<double> all = p.to_doubles();
    const auto classes = static_cast<std::size_t>(p.shape()[1]);
    for (std::size_t i = static_cast<std::size_t>(target); i < all.size(); i += classes)
      probabilities.push_back(all[i]);
  }
  return probabilities;
}

// Length of what two intervals share.
double overlap(double a0, double a1, double b0, double b1) {
  return std::max(0.0, std::min(a1, b1) - std::max(a0, b0));
}

double part_inside(const MapRegion& region, double x, double y) {
  if (region.radius > 0) return std::hypot(x + 0.5 - region.x0, y + 0.5 - region.y0) <= region.radius ? 1 : 0;
  return overlap(x, x + 1, region.x0, region.x1) * overlap(y, y + 1, region.y0, region.y1);
}

}  // namespace

std::vector<std::size_t> ranked_pixels(const CamMap& map) {
  std::vector<std::size_t> order(map.values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return map.values[a] > map.values[b]; });
  return order;
}

double area_under(std::span<const double> curve) {
  double sum = 0;
  for (std::size_t i = 1; i < curve.size(); ++i) sum += (curve[i - 1] + curve[i]) / 2;
  return sum / static_cast<double>(curve.size() - 1);
}

Faithfulness faithfulness(Model& model, const ModelInput& input, std::span<const std::size_t> changed,
                          const CamMap& map, std::int64_t target, const FaithfulnessOptions& options) {
  if (options.steps < 1 || options.batch < 1)
    fail(fmt::format("{} steps in batches of {} are no curve", options.steps, options.batch));
  NoGrad no_grad;
  model.set_training(false);
  const Steps steps(input, changed, map, options.steps);
  Faithfulness result;
  result.insertion_curve = curve_of(model, steps, Curve::insertion, target, options);
  result.deletion_curve = curve_of(model, steps, Curve::deletion, target, options);
  result.insertion = area_under(result.insertion_curve);
  result.deletion = area_under(result.deletion_curve);
  return result;
}

Energy energy_in(const CamMap& map, const MapRegion& region) {
  double inside = 0, total = 0, area = 0;
  for (std::int64_t y = 0; y < map.height; ++y) {
    for (std::int64_t x = 0; x < map.width; ++x) {
      const double value = map.values[static_cast<std::size_t>(y * map.width + x)];
      const double part = part_inside(region, static_cast<double>(x), static_cast<double>(y));
      inside += part * value;
      area += part;
      total += value;
    }
  }
  return {total > 0 ? inside / total : 0, area / static_cast<double>(map.values.size())};
}

}  // namespace fovea
