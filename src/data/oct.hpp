// OCT volumes stored as one file per B-scan.
#pragma once

#include <string>
#include <vector>

namespace fovea {

/// The B-scans of a folder in order of their number: the last run of digits in the name before the ending, so
/// `12_image.jpg` (GAMMA) and `scan_012.png` are both 12. Files ending in .jpg, .jpeg or .png in any case;
/// others and hidden files are ignored. Numbers may have gaps (exports drop scans; only the order counts).
/// Error: no such folder, no B-scan in it, a picture without a number, or two with the same number.
std::vector<std::string> list_slices(const std::string& folder);

/// k of the n paths, evenly spaced over the volume: the one at the centre of each of k equal parts,
/// floor((2i+1) n / (2k)) for i = 0..k-1. Where n < k some are repeated, so there are always k. Error: no
/// paths, or k below 1.
std::vector<std::string> pick_slices(const std::vector<std::string>& paths, int k);

}  // namespace fovea
