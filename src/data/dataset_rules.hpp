// What every layout of a set shares: how problems are reported, how files are found, and the rules a whole
// set obeys.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace fovea {

/// Throws Error, or adds to options.problems where these are collected.
void report_problem(const DatasetOptions& options, const std::string& problem);

/// "labels.csv, row 7", or the set's name and the sample's id where rows have no numbers.
std::string where(const Dataset& dataset, const Sample& sample);

/// A label of a cell: 0..999. Error otherwise.
int parse_label(const std::string& cell);

/// The set as a whole: names of classes (`names` by label; the number where there is none), labels without a
/// gap or among options.classes, unique ids, at least one sample.
void finish_dataset(Dataset& dataset, const std::map<int, std::string>& names, const DatasetOptions& options);

/// .jpg, .jpeg or .png, in any case.
bool is_image_name(const std::filesystem::path& path);

/// Entries of a folder in natural order (2 before 10), without hidden ones.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);

}  // namespace fovea
