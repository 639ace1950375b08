// Which samples a command is about: photographs on the command line, or a part of a set.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.hpp"
#include "run_config.hpp"

namespace fovea {

struct SampleList {
  Dataset dataset;
  std::vector<int> indices;  // into dataset.samples
};

/// Files are photographs of eyes about which nothing else is known; their ids are their names without folder
/// and ending. UsageError where the run takes more than photographs.
SampleList samples_of_files(const RunConfig& config, const std::vector<std::string>& files);

/// Of the set at `data`, or the run's own where that is empty: the samples of `ids` (separated by commas), or
/// of `part`: "test", what the run held out, or "all". Without either, "test" of the run's own set and all of
/// another. Labels are not needed but for "test".
SampleList samples_of_set(const RunConfig& config, const std::string& data, const std::string& part,
                          const std::string& ids);

/// UsageError, with the nearest ids, where the set has no such sample.
int index_of_sample(const Dataset& dataset, const std::string& id);

/// Whether two paths are one place.
bool same_place(const std::string& a, const std::string& b);

}  // namespace fovea
