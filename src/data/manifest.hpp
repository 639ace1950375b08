// A set described by a CSV file, one sample a row.
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace fovea {

/// Columns (all others are ignored; paths are relative to the manifest's folder; an empty cell means "not
/// there"):
///   file or fundus      the photograph
///   oct                 a folder of B-scans, a list of images separated by ';', or one image
///   vf                  a CSV file of one field's thresholds, or the thresholds separated by ';'; or the
///   thresholds are columns of
///                       the manifest (visual_field.hpp says which names). A filled vf cell goes before the
///                       columns.
///   label               an integer from 0 (or the column named by options.label_column); label_name: what
///   the class is called id, subject, eye    eye: OD, R, right or OS, L, left split, fold         train, val,
///   test; an integer from 0 roi_x, roi_y, roi_w, roi_h   the box of the photograph to use, in its pixels
/// Every problem is an Error naming manifest and row (or collected: options.problems): a missing column
/// (those there are listed), a missing file, a number that is none, a label out of range or left out, an id
/// twice, a row without any modality, no rows.
Dataset open_manifest(const std::string& path, const DatasetOptions& options);

}  // namespace fovea
