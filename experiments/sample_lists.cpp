// See sample_lists.hpp.
#include "sample_lists.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <numeric>
#include <system_error>

#include "batches.hpp"
#include "data/csv.hpp"
#include "data/split.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"
#include "results.hpp"

namespace fovea {

bool same_place(const std::string& a, const std::string& b) {
  std::error_code error;
  return a == b || std::filesystem::equivalent(a, b, error);
}

int index_of_sample(const Dataset& dataset, const std::string& id) {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    if (dataset.samples[i].id == id) return static_cast<int>(i);
    ids.push_back(dataset.samples[i].id);
  }
  constexpr std::size_t listed = 20;  // a hint, not the whole set
  const std::string hint = nearest_hint(id, ids);
  fail_usage(fmt::format("{} has no sample '{}'{}", dataset.source, id,
                         hint.starts_with("; known") && ids.size() > listed
                             ? fmt::format("; its first is '{}'", ids[0])
                             : hint));
}

SampleList samples_of_files(const RunConfig& config, const std::vector<std::string>& files) {
  if (config.model.modalities != std::vector<std::string>{"fundus"}) {
    fail_usage(fmt::format("this run takes {}; single files can only be photographs, so give --data PATH",
                           fmt::join(config.model.modalities, " and ")));
  }
  SampleList list;
  list.dataset.source = "the command line";
  list.dataset.classes = config.class_names;
  for (const std::string& file : files) {
    Sample sample;
    sample.id = std::filesystem::path(file).stem().string();
    sample.subject = sample.id;
    sample.fundus = file;
    list.indices.push_back(static_cast<int>(list.dataset.samples.size()));
    list.dataset.samples.push_back(std::move(sample));
  }
  return list;
}

SampleList samples_of_set(const RunConfig& config, const std::string& data, const std::string& part,
                          const std::string& ids) {
  const bool own = data.empty() || same_place(data, config.data);
  const bool held_out = part == "test" || (part.empty() && ids.empty() && own);
  if (held_out && !own)
    fail_usage(fmt::format("--part test is of the run's own set, {}, not of {}", config.data, data));
  SampleList list;
  list.dataset = open_data(config, own ? config.data : data, held_out);
  if (held_out) {
    list.indices = make_split(list.dataset, split_options(config)).test;
  } else if (!ids.empty()) {
    for (const std::string& id : split_cell(ids, ','))
      list.indices.push_back(index_of_sample(list.dataset, id));
  } else {
    list.indices.resize(list.dataset.samples.size());
    std::iota(list.indices.begin(), list.indices.end(), 0);
  }
  return list;
}

}  // namespace fovea
