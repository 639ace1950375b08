// A set described by a CSV file, one sample a row.
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace fovea {

/// Columns; all others are ignored. Paths are relative to the manifest's folder; an empty cell means "not
/// there".
///
///   file or fundus    the photograph
///   oct               a folder of B-scans, a list of images separated by ';', or one image
///   vf                a CSV file with the thresholds of one field, or the thresholds separated by ';'.
///                     They may be columns of the manifest too (visual_field.hpp), for empty vf cells
///   label             an integer from 0; options.label_column names another column
///   label_name        what the class is called (beside the column label only)
///   id, subject       text; the subject groups samples in splits
///   eye               OD, R, right or OS, L, left
///   split             train, val, test
///   fold              an integer from 0
///   roi_x, roi_y, roi_w, roi_h   the box of the photograph to use, in its pixels
///   disc_x, disc_y, disc_width, disc_height   the box around the optic disc, in pixels of the stored photograph
///   fovea_x, fovea_y  the fovea, likewise; fractions are allowed
///
/// Every problem is an Error naming manifest and row (or is collected: options.problems): a missing column
/// (those there are listed), a missing file, a number that is none, a label out of range or left out, an id
/// twice, a row without any modality, no rows.
Dataset open_manifest(const std::string& path, const DatasetOptions& options);

}  // namespace fovea
