// See cam.hpp.
#include "eval/cam.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

struct MethodName {
  CamMethod method;
  std::string_view name;
};
constexpr std::array methods{
    MethodName{CamMethod::gradcam, "gradcam"}, MethodName{CamMethod::gradcam_plus_plus, "gradcam++"},
    MethodName{CamMethod::hirescam, "hirescam"}, MethodName{CamMethod::layercam, "layercam"}};

/// A layer as it lies in memory: pixel after pixel, all channels of each.
struct Layer {
  std::span<const double> activation, gradient;
  std::size_t pixels, channels;

  double a(std::size_t pixel, std::size_t channel) const { return activation[pixel * channels + channel]; }
  double g(std::size_t pixel, std::size_t channel) const { return gradient[pixel * channels + channel]; }
};

std::vector<double> mean_gradients(const Layer& layer) {
  std::vector<double> weights(layer.channels);
  for (std::size_t p = 0; p < layer.pixels; ++p)
    for (std::size_t c = 0; c < layer.channels; ++c) weights[c] += layer.g(p, c);
  for (double& w : weights) w /= static_cast<double>(layer.pixels);
  return weights;
}

// Eq. 19 of the paper, with the library's 1e-6 in the denominator; a gradient of zero has no weight.
std::vector<double> plus_plus_weights(const Layer& layer) {
  std::vector<double> total(layer.channels), weights(layer.channels);
  for (std::size_t p = 0; p < layer.pixels; ++p)
    for (std::size_t c = 0; c < layer.channels; ++c) total[c] += layer.a(p, c);
  for (std::size_t p = 0; p < layer.pixels; ++p) {
    for (std::size_t c = 0; c < layer.channels; ++c) {
      const double g = layer.g(p, c), square = g * g;
      if (g != 0) weights[c] += std::max(g, 0.0) * square / (2 * square + total[c] * square * g + 1e-6);
    }
  }
  return weights;
}

template <class Weight>
void sum_channels(const Layer& layer, std::vector<double>& sums, Weight&& weight) {
  for (std::size_t p = 0; p < layer.pixels; ++p)
    for (std::size_t c = 0; c < layer.channels; ++c) sums[p] += layer.a(p, c) * weight(p, c);
}

/// Where a pixel of the larger image lies between two of the smaller.
struct Place {
  std::size_t low, high;
  double share;  // of high
};

std::vector<Place> places(std::int64_t from, std::int64_t to) {
  std::vector<Place> all;
  for (std::int64_t i = 0; i < to; ++i) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const auto low = static_cast<std::int64_t>(std::floor(at));
    const auto inside = [&](std::int64_t j) {
      return static_cast<std::size_t>(std::clamp<std::int64_t>(j, 0, from - 1));
    };
    all.push_back({inside(low), inside(low + 1), at - static_cast<double>(low)});
  }
  return all;
}

}  // namespace

std::string_view name_of(CamMethod method) {
  return std::ranges::find(methods, method, &MethodName::method)->name;
}

std::vector<std::string> cam_method_names() {
  std::vector<std::string> names;
  for (const MethodName& m : methods) names.emplace_back(m.name);
  return names;
}

CamMethod parse_cam_method(std::string_view name) {
  const auto found = std::ranges::find(methods, name, &MethodName::name);
  if (found == methods.end())
    fail_usage(fmt::format("there is no method '{}'{}", name, nearest_hint(name, cam_method_names())));
  return found->method;
}

std::string_view name_of(CamStatus status) {
  constexpr std::array<std::string_view, 4> names{"ok", "not positive", "constant", "not finite"};
  return names[static_cast<std::size_t>(status)];
}

std::string_view meaning_of(CamStatus status) {
  constexpr std::array<std::string_view, 4> sentences{
      "", "the map is nowhere above zero: nothing in this layer speaks for the class",
      "the map is the same everywhere: this layer parts no region from another",
      "the map is not finite: the weights or the input are damaged"};
  return sentences[static_cast<std::size_t>(status)];
}

CamMap class_activation(CamMethod method, std::span<const double> activation,
                        std::span<const double> gradient, std::int64_t height, std::int64_t width,
                        std::int64_t channels) {
  const auto pixels = static_cast<std::size_t>(height * width);
  const Layer layer{activation, gradient, pixels, static_cast<std::size_t>(channels)};
  if (pixels * layer.channels == 0 || activation.size() != pixels * layer.channels ||
      gradient.size() != activation.size()) {
    fail(fmt::format("a layer of {} x {} x {} got {} activations and {} gradients", height, width, channels,
                     activation.size(), gradient.size()));
  }
  CamMap map{height, width, std::vector<double>(pixels)};
  switch (method) {
    case CamMethod::gradcam:
    case CamMethod::gradcam_plus_plus: {
      const std::vector<double> weights =
          method == CamMethod::gradcam ? mean_gradients(layer) : plus_plus_weights(layer);
      sum_channels(layer, map.values, [&](std::size_t, std::size_t c) { return weights[c]; });
      break;
    }
    case CamMethod::hirescam:
      sum_channels(layer, map.values, [&](std::size_t p, std::size_t c) { return layer.g(p, c); });
      break;
    case CamMethod::layercam:
      // Not std::max, which takes zero for a NaN.
      sum_channels(layer, map.values,
                   [&](std::size_t p, std::size_t c) { return layer.g(p, c) < 0 ? 0 : layer.g(p, c); });
      break;
  }
  return map;
}

CamStatus status_of(const CamMap& sum) {
  const auto finite = [](double v) { return std::isfinite(v); };
  if (!std::ranges::all_of(sum.values, finite)) return CamStatus::not_finite;
  const auto [low, high] = std::ranges::minmax(sum.values);
  if (high <= 0) return CamStatus::not_positive;
  return high - std::max(low, 0.0) <= 1e-6 * high ? CamStatus::constant : CamStatus::ok;
}

CamMap scaled(CamMap map) {
  const auto [low, high] = std::ranges::minmax(map.values);
  for (double& v : map.values) v = (v - low) / (1e-7 + (high - low));
  return map;
}

CamMap resized(const CamMap& map, std::int64_t height, std::int64_t width) {
  const std::vector<Place> rows = places(map.height, height), columns = places(map.width, width);
  CamMap result{height, width, {}};
  result.values.reserve(rows.size() * columns.size());
  for (const Place& row : rows) {
    const double* above = map.values.data() + row.low * static_cast<std::size_t>(map.width);
    const double* below = map.values.data() + row.high * static_cast<std::size_t>(map.width);
    for (const Place& column : columns) {
      const double top = std::lerp(above[column.low], above[column.high], column.share);
      const double bottom = std::lerp(below[column.low], below[column.high], column.share);
      result.values.push_back(std::lerp(top, bottom, row.share));
    }
  }
  return result;
}

FinishedMap finish_map(std::span<const CamMap> sums, std::int64_t height, std::int64_t width) {
  if (sums.empty()) fail("a class activation map needs at least one layer");
  FinishedMap finished{status_of(sums[0]), {height, width, {}}};
  std::vector<double> mean(static_cast<std::size_t>(height * width));
  for (const CamMap& sum : sums) {
    const CamStatus status = status_of(sum);
    if (status == CamStatus::not_finite) return {status, {height, width, {}}};
    if (status != CamStatus::ok) continue;
    finished.status = CamStatus::ok;
    CamMap positive = sum;
    for (double& v : positive.values) v = std::max(v, 0.0);
    const CamMap layer = resized(scaled(std::move(positive)), height, width);
    for (std::size_t i = 0; i < mean.size(); ++i)
      mean[i] += layer.values[i] / static_cast<double>(sums.size());
  }
  if (finished.status == CamStatus::ok) finished.map = scaled({height, width, std::move(mean)});
  return finished;
}

std::string npy_bytes(const CamMap& map) {
  static_assert(std::endian::native == std::endian::little, "'<f4' is written as it lies in memory");
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", map.height, map.width);
  constexpr std::size_t before = 10, alignment = 64;  // magic, version, length of the header
  header.append(alignment - 1 - (before + header.size()) % alignment, ' ');
  header += '\n';
  std::string bytes = std::string("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  const std::size_t begin = bytes.size();
  const std::vector<float> values(map.values.begin(), map.values.end());
  bytes.resize(begin + values.size() * sizeof(float));
  std::memcpy(bytes.data() + begin, values.data(), values.size() * sizeof(float));
  return bytes;
}

}  // namespace fovea
