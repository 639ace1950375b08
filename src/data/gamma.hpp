// The layout of the GAMMA challenge (Wu et al., Medical Image Analysis 2023): photograph and OCT of an eye.
//
//   multi-modality_images/0001/0001.jpg           fundus photograph
//   multi-modality_images/0001/0001/0_image.jpg   B-scans, to 255_image.jpg
//   *.xlsx                                        one-hot grades: columns data, non, early, mid_advanced
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace fovea {

/// Whether the folder holds multi-modality_images, or is it.
bool is_gamma(const std::string& folder);

/// Opens it; classes are non, early, mid_advanced. A sample may lack photograph or volume, not both. Error,
/// naming sheet and row or sample: no sheet or two of them (where labels are required), a row that is not
/// one-hot, a number twice, a row without a sample, a sample without a row (where labels are required), no
/// samples.
Dataset open_gamma(const std::string& folder, const DatasetOptions& options);

}  // namespace fovea
