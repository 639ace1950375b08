// Class activation maps: from one layer's activations A and the gradients G of a class's logit to a map of the image.
//
//   gradcam    sum_c A_c mean_p(G_c)                     Selvaraju et al., arXiv 1610.02391
//   gradcam++  sum_c A_c sum_p( relu(G) G^2 / (2 G^2 + G^3 sum_p(A_c) + 1e-6) )
//                                                        Chattopadhay et al., arXiv 1710.11063
//   hirescam   sum_c A G                                 Draelos and Carin, arXiv 2011.08891
//   layercam   sum_c A relu(G)                           Jiang et al., IEEE TIP 30 (2021)
//
// c runs over channels, p over the layer's pixels. What follows is the same for all, and pytorch-grad-cam's
// (1.5.0), so that values agree: ReLU; scaled, that is minus its minimum and divided by (1e-7 + maximum);
// resized to the image, bilinear between pixel centres (cv2.resize); the mean over the layers, scaled again
// (for one layer too: resizing cuts the peaks).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

enum class CamMethod : std::uint8_t { gradcam, gradcam_plus_plus, hirescam, layercam };

std::string_view name_of(CamMethod method);
CamMethod parse_cam_method(std::string_view name);  // UsageError with the nearest names
std::vector<std::string> cam_method_names();

/// What became of a map. Only one that is `ok` is drawn; the others say nothing about the image.
enum class CamStatus : std::uint8_t { ok, not_positive, constant, not_finite };

std::string_view name_of(CamStatus status);     // "ok", "not positive", "constant", "not finite"
std::string_view meaning_of(CamStatus status);  // a sentence for people; empty for ok

/// height x width values, row-major.
struct CamMap {
  std::int64_t height = 0, width = 0;
  std::vector<double> values;
};

/// A layer's sum before the ReLU. A and G are height x width x channels, channels last; Error where their sizes
/// differ.
CamMap class_activation(CamMethod method, std::span<const double> activation,
                        std::span<const double> gradient, std::int64_t height, std::int64_t width,
                        std::int64_t channels);

/// not_finite: a value is NaN or infinite; not_positive: no value above zero; constant: above zero everywhere
/// alike, to 1e-6 of the largest.
CamStatus status_of(const CamMap& sum);

/// (x - min) / (1e-7 + max(x - min)).
CamMap scaled(CamMap map);

/// Bilinear, as cv2.resize(INTER_LINEAR): pixel centres at i + 1/2, edges repeated, no smoothing where it shrinks.
CamMap resized(const CamMap& map, std::int64_t height, std::int64_t width);

/// The map that a person looks at: within 0..1, of the image's size; without values where the status is not ok.
struct FinishedMap {
  CamStatus status = CamStatus::ok;
  CamMap map;
};

/// Of the sums of one or several layers. With several, one that is not positive or constant adds nothing; one
/// that is not finite makes the whole not finite.
FinishedMap finish_map(std::span<const CamMap> sums, std::int64_t height, std::int64_t width);

/// NPY format 1.0 (numpy.lib.format): height x width float32, little-endian, row-major. What numpy.load reads.
std::string npy_bytes(const CamMap& map);

}  // namespace fovea
