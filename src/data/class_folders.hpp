// A set without a manifest: a folder of images for each class.
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace fovea {

/// Each subfolder is a class, in natural order of names (or in the order of options.classes, which must then
/// know each of them), and holds photographs. Where labels are not required, images lying directly in the
/// folder are a set without labels. Error: nothing of this kind in the folder; a class without images; images
/// beside the class folders; a picture in a format that is not read (it would be left out unseen); two images
/// of the same name.
Dataset open_class_folders(const std::string& folder, const DatasetOptions& options);

}  // namespace fovea
