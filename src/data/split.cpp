// Splits. See split.hpp.
//
// Greedy stratified grouping: with y[f][c] the samples of class c in fold f and n[c] those of the whole set,
// a subject goes to the fold that makes mean_c std_f( y[f][c] / n[c] ) least; of equals, to the fold with the
// fewest samples.
#include "data/split.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "data/dataset_rules.hpp"
#include "data/rng.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

struct Group {
  std::vector<int> samples;
  std::vector<double> classes;  // samples of each class
};

double spread(const std::vector<double>& values) {
  double mean = 0, square = 0;
  for (const double value : values) mean += value;
  mean /= static_cast<double>(values.size());
  for (const double value : values) square += (value - mean) * (value - mean);
  return std::sqrt(square / static_cast<double>(values.size()));
}

// One group a subject, in order of first appearance.
std::vector<Group> group_by_subject(const Dataset& dataset) {
  std::map<std::string, std::size_t> index;
  std::vector<Group> groups;
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    const Sample& sample = dataset.samples[i];
    const auto [at, is_new] = index.emplace(sample.subject, groups.size());
    if (is_new) groups.push_back({{}, std::vector<double>(dataset.classes.size())});
    groups[at->second].samples.push_back(static_cast<int>(i));
    groups[at->second].classes[static_cast<std::size_t>(sample.label)] += 1;
  }
  return groups;
}

void check_labelled(const Dataset& dataset) {
  if (dataset.classes.size() < 2)
    fail(fmt::format("{}: {} class in the set; at least two are needed to learn from it", dataset.source,
                     dataset.classes.size()));
  for (const Sample& sample : dataset.samples)
    if (sample.label < 0 || sample.label >= static_cast<int>(dataset.classes.size()))
      fail(fmt::format("{}: the sample has no label and cannot be put into a split", where(dataset, sample)));
}

void check_folds(const Dataset& dataset, const std::vector<Group>& groups, int folds) {
  if (folds < 2) fail_usage(fmt::format("{} folds; at least 2 are needed", folds));
  for (std::size_t c = 0; c < dataset.classes.size(); ++c) {
    const auto subjects =
        std::count_if(groups.begin(), groups.end(), [&](const Group& group) { return group.classes[c] > 0; });
    if (subjects < folds)
      fail(fmt::format("{}: the class '{}' has {} subjects, too few for {} folds; use fewer folds",
                       dataset.source, dataset.classes[c], subjects, folds));
  }
}

class FoldFiller {
 public:
  FoldFiller(const std::vector<Group>& groups, std::size_t classes, int folds)
      : counts_(static_cast<std::size_t>(folds), std::vector<double>(classes)), total_(classes) {
    for (const Group& group : groups)
      for (std::size_t c = 0; c < classes; ++c) total_[c] += group.classes[c];
  }

  // The best fold for a group, which is then in it.
  int place(const Group& group) {
    std::size_t best = 0;
    double best_score = std::numeric_limits<double>::infinity(), best_size = best_score;
    for (std::size_t f = 0; f < counts_.size(); ++f) {
      const double score = score_with(f, group);
      double size = 0;
      for (const double count : counts_[f]) size += count;
      const bool equal = std::abs(score - best_score) <= 1e-8 + 1e-5 * std::abs(best_score);
      if (equal ? size < best_size : score < best_score) best = f, best_score = score, best_size = size;
    }
    for (std::size_t c = 0; c < total_.size(); ++c) counts_[best][c] += group.classes[c];
    return static_cast<int>(best);
  }

 private:
  double score_with(std::size_t fold, const Group& group) const {
    double score = 0;
    for (std::size_t c = 0; c < total_.size(); ++c) {
      std::vector<double> share;
      for (std::size_t f = 0; f < counts_.size(); ++f)
        share.push_back((counts_[f][c] + (f == fold ? group.classes[c] : 0)) / total_[c]);
      score += spread(share);
    }
    return score / static_cast<double>(total_.size());
  }

  std::vector<std::vector<double>> counts_;  // fold, class
  std::vector<double> total_;
};

struct Part {
  const char* name;
  const std::vector<int>* samples;
};

void check_classes(const Dataset& dataset, const Split& split) {
  std::vector<Part> parts{{"train", &split.train}};
  if (!split.held_out_validates) parts.push_back({"validation", &split.validation});
  parts.push_back({split.held_out_validates ? "held-out" : "test", &split.test});
  for (const Part& part : parts) {
    std::set<int> present;
    for (const int i : *part.samples) present.insert(dataset.samples[static_cast<std::size_t>(i)].label);
    for (std::size_t c = 0; c < dataset.classes.size(); ++c)
      if (!present.contains(static_cast<int>(c)))
        fail(fmt::format("{}: the {} part ({}) has no sample of the class '{}'", dataset.source, part.name,
                         split.origin, dataset.classes[c]));
  }
}

// `part` names the part of a sample; a subject must be in one only.
template <typename PartOf>
void check_subjects(const Dataset& dataset, PartOf part) {
  std::map<std::string, const Sample*> first;
  for (const Sample& sample : dataset.samples) {
    const auto [seen, is_new] = first.emplace(sample.subject, &sample);
    if (!is_new && part(*seen->second) != part(sample))
      fail(fmt::format(
          "{}: the subject '{}' is in {} here and in {} at sample '{}'; a subject belongs in one part",
          where(dataset, sample), sample.subject, part(sample), part(*seen->second), seen->second->id));
  }
}

Split split_by_column(const Dataset& dataset) {
  Split split;
  split.origin = "column split";
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    const Sample& sample = dataset.samples[i];
    if (sample.split.empty())
      fail(fmt::format("{}: the split is empty; give train, val or test", where(dataset, sample)));
    auto& part = sample.split == "train" ? split.train
                 : sample.split == "val" ? split.validation
                                         : split.test;
    part.push_back(static_cast<int>(i));
  }
  if (split.train.empty()) fail(fmt::format("{}: the column split names no sample train", dataset.source));
  if (split.validation.empty() && split.test.empty())
    fail(fmt::format("{}: the column split names no sample val or test; ask for a fold instead",
                     dataset.source));
  split.held_out_validates = split.validation.empty() || split.test.empty();
  if (split.validation.empty()) split.validation = split.test;
  if (split.test.empty()) split.test = split.validation;
  check_subjects(dataset, [](const Sample& sample) { return sample.split; });
  return split;
}

Split hold_out(const std::vector<int>& folds, int fold, std::string origin) {
  Split split;
  split.origin = std::move(origin);
  split.held_out_validates = true;
  for (std::size_t i = 0; i < folds.size(); ++i)
    (folds[i] == fold ? split.test : split.train).push_back(static_cast<int>(i));
  split.validation = split.test;
  return split;
}

Split split_by_given_folds(const Dataset& dataset, int fold) {
  std::vector<int> folds;
  std::set<int> known;
  for (const Sample& sample : dataset.samples) {
    if (sample.fold < 0)
      fail(fmt::format("{}: the fold is empty; give every sample one", where(dataset, sample)));
    folds.push_back(sample.fold);
    known.insert(sample.fold);
  }
  if (!known.contains(fold))
    fail(fmt::format("{}: no fold {} in the column fold; it has {}", dataset.source, fold,
                     fmt::join(known, ", ")));
  check_subjects(dataset, [](const Sample& sample) { return fmt::format("fold {}", sample.fold); });
  return hold_out(folds, fold, fmt::format("column fold, fold {} of {}", fold, known.size()));
}

Split split_by_computed_folds(const Dataset& dataset, int fold, const SplitOptions& options) {
  if (fold >= options.folds)
    fail_usage(fmt::format("fold {} of {}; folds are counted from 0", fold, options.folds));
  return hold_out(stratified_folds(dataset, options.folds, options.seed), fold,
                  fmt::format("stratified fold {} of {}, seed {}", fold, options.folds, options.seed));
}

}  // namespace

std::vector<int> stratified_folds(const Dataset& dataset, int folds, std::uint64_t seed) {
  check_labelled(dataset);
  std::vector<Group> groups = group_by_subject(dataset);
  check_folds(dataset, groups, folds);
  PhiloxStream(seed, Purpose::folds).shuffle(groups);
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return spread(a.classes) > spread(b.classes); });
  FoldFiller filler(groups, dataset.classes.size(), folds);
  std::vector<int> result(dataset.samples.size());
  for (const Group& group : groups) {
    const int fold = filler.place(group);
    for (const int i : group.samples) result[static_cast<std::size_t>(i)] = fold;
  }
  return result;
}

Split make_split(const Dataset& dataset, const SplitOptions& options) {
  check_labelled(dataset);
  const auto any = [&](auto given) {
    return std::any_of(dataset.samples.begin(), dataset.samples.end(), given);
  };
  const bool by_split = options.fold < 0 && any([](const Sample& sample) { return !sample.split.empty(); });
  const bool by_fold = any([](const Sample& sample) { return sample.fold >= 0; });
  const int fold = std::max(options.fold, 0);
  Split split = by_split  ? split_by_column(dataset)
                : by_fold ? split_by_given_folds(dataset, fold)
                          : split_by_computed_folds(dataset, fold, options);
  check_classes(dataset, split);
  return split;
}

}  // namespace fovea
