// An audit of a set: what is in it, and everything that is wrong with it, before a network is trained on it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/dataset.hpp"

namespace fovea {

struct DataReport {
  using Counts = std::vector<std::pair<std::string, int>>;

  struct Size {
    int height = 0, width = 0, files = 0;
  };

  /// Image files of one modality; sizes from the smallest area to the largest.
  struct Images {
    Modality modality = Modality::fundus;
    int files = 0, unreadable = 0;
    std::vector<Size> sizes;
  };

  /// Two photographs that look like one (ids), and how alike they are (up to 1).
  struct Pair {
    std::string first, second;
    double similarity = 0;
    bool same_label = true;
  };

  std::string source;
  int samples = 0;  // rows without a problem of their own
  int subjects = 0;
  Counts classes, modalities, eyes, splits, folds;  // number of samples
  Counts slices;                                    // number of volumes by number of slices
  Counts field_points;                              // number of visual fields by number of points
  std::vector<Images> images;

  std::vector<std::string>
      rows;  // rows or samples that cannot be used: missing files, labels out of range, ids twice
  std::vector<std::string> unreadable;  // images that cannot be decoded, boxes that leave their photograph
  std::vector<std::string> leaks;       // subjects in more than one split or fold
  std::vector<std::string> gaps;        // splits or folds without a sample of some class
  std::vector<Pair> near_duplicates;  // most alike first; for a person to look at, so no reason against ok()
  std::vector<std::string> notes;     // what was not checked, and why

  bool ok() const { return rows.empty() && unreadable.empty() && leaks.empty() && gaps.empty(); }
};

/// Opens the set and decodes every image of it (in parallel). Goes on after a problem, and lists all. Throws
/// Error only where there is no set to speak of: no such path, a file that is no table, no column for the
/// data or the label. Near-duplicates: 32 x 32 grey thumbnails less their local mean (5 x 5), correlation at
/// least 0.98. Re-encoded, resized or brightened copies are found; other photographs of the same eye are not.
DataReport check_dataset(const std::string& path, const DatasetOptions& options = {});

std::string to_text(const DataReport& report);
std::string to_json(const DataReport& report);

}  // namespace fovea
