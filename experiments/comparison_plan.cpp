// See comparison_plan.hpp.
#include "comparison_plan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "data/csv.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

using Setting = std::pair<std::string, std::string>;

// In the order of the paper's table.
const std::vector<std::string> paper_models{"vgg11",       "vgg13",         "resnet18",     "resnet50",
                                            "densenet161", "convnext_tiny", "inception_v3", "hm-vgg"};

struct Ablation {
  const char* name;
  Setting setting;
};
// The paper's claims, one at a time: each takes from hm-vgg, or changes in it, what one of them is about.
const std::array<Ablation, 7> ablation_list{{{"without HAM", {"ham.variant", "none"}},
                                             {"HAM as scSE", {"ham.variant", "scse"}},
                                             {"without MLRM", {"mlrm.rates", "none"}},
                                             {"MLRM merged by 1x1", {"mlrm.fuse", "concat"}},
                                             {"dilations 1,3,5", {"mlrm.rates", "1,3,5"}},
                                             {"dilations 1,2,3", {"mlrm.rates", "1,2,3"}},
                                             {"without the shortcut", {"shortcut", "false"}}}};

// Inception's usual input, beside 224 pixels of the others.
constexpr std::int64_t usual_size = 224, inception_size = 299;

std::vector<std::string> models_of(const std::string& text) {
  if (text == "all") return paper_models;
  std::vector<std::string> names;
  const std::vector<std::string> known = model_names();
  for (const std::string& name : split_cell(text, ',')) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail_usage(fmt::format("--models: there is no model '{}'{}", name, nearest_hint(name, known)));
    if (std::find(names.begin(), names.end(), name) != names.end())
      fail_usage(fmt::format("--models names {} twice", name));
    names.push_back(name);
  }
  if (names.empty()) fail_usage("--models is empty; give all, or names with commas");
  return names;
}

std::vector<std::string> modalities_there(const Dataset& dataset) {
  std::vector<std::string> names;
  for (const Modality m : all_modalities) {
    if (std::any_of(dataset.samples.begin(), dataset.samples.end(),
                    [&](const Sample& s) { return s.has(m); }))
      names.emplace_back(name_of(m));
  }
  return names;
}

// Every set of them that is not empty, the smaller ones first.
std::vector<std::string> all_sets(const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> sets;
  for (std::size_t bits = 1; bits < std::size_t{1} << names.size(); ++bits) {
    std::vector<std::string>& set = sets.emplace_back();
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (bits >> i & 1) set.push_back(names[i]);
    }
  }
  std::stable_sort(sets.begin(), sets.end(),
                   [](const auto& a, const auto& b) { return a.size() < b.size(); });
  std::vector<std::string> texts;
  for (const auto& set : sets) texts.push_back(fmt::format("{}", fmt::join(set, ",")));
  return texts;
}

std::vector<std::string> sets_of(const ComparisonOptions& options, const Dataset& dataset) {
  const std::vector<std::string> there = modalities_there(dataset);
  if (options.modality_sets.empty()) return all_sets(there);
  for (const std::string& set : options.modality_sets) {
    for (const Modality m : parse_modalities(set)) {
      const std::string name(name_of(m));
      if (std::find(there.begin(), there.end(), name) == there.end()) {
        fail_usage(fmt::format("--modalities {}: no sample of {} has {}; it has {}", set, dataset.source,
                               name, fmt::join(there, ", ")));
      }
    }
  }
  return options.modality_sets;
}

// What "MODEL:KEY=VALUE" says, by model.
std::map<std::string, std::vector<Setting>> settings_by_model(const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<Setting>> by_model;
  for (const std::string& text : texts) {
    const std::size_t colon = text.find(':'), equals = text.find('=', colon == std::string::npos ? 0 : colon);
    if (colon == std::string::npos || equals == std::string::npos || colon == 0 || equals == colon + 1) {
      fail_usage(
          fmt::format("--for {} is not MODEL:KEY=VALUE, as in --for inception_v3:image_size=299", text));
    }
    by_model[text.substr(0, colon)].emplace_back(text.substr(colon + 1, equals - colon - 1),
                                                 text.substr(equals + 1));
  }
  return by_model;
}

class RowMaker {
 public:
  RowMaker(const RunConfig& shared, const Dataset& dataset, const ComparisonOptions& options)
      : shared_(shared), options_(options), own_(settings_by_model(options.settings)) {
    const std::vector<std::string> models = models_of(options.models);
    check_own(models);
    for (const std::string& model : models) {
      if (model == "hm-vgg") {
        add_hm_vgg(sets_of(options, dataset));
      } else {
        add_comparison_model(model, dataset);
      }
    }
  }

  std::vector<ComparedRow> rows;

 private:
  void check_own(const std::vector<std::string>& models) const {
    for (const auto& [model, settings] : own_) {
      if (std::find(models.begin(), models.end(), model) == models.end())
        fail_usage(fmt::format("--for {}: that model is not compared{}", model, nearest_hint(model, models)));
    }
  }

  void add_hm_vgg(const std::vector<std::string>& sets) {
    for (const std::string& set : sets)
      add("hm-vgg", fmt::format("hm-vgg {}", set), RowKind::model, {{"modalities", set}});
    if (!options_.ablations) return;
    const bool photographs = std::find(sets.begin(), sets.end(), "fundus") != sets.end();
    const std::string& set = photographs ? "fundus" : sets.front();
    for (const Ablation& a : ablation_list) {
      add("hm-vgg", fmt::format("hm-vgg {}, {}", set, a.name), RowKind::ablation,
          {{"modalities", set}, a.setting});
    }
  }

  void add_comparison_model(const std::string& model, const Dataset& dataset) {
    const std::vector<std::string> there = modalities_there(dataset);
    if (std::find(there.begin(), there.end(), "fundus") == there.end()) {
      fail_usage(fmt::format("{} takes photographs and {} has none; compare hm-vgg alone: --models hm-vgg",
                             model, dataset.source));
    }
    std::vector<Setting> settings{{"modalities", "fundus"}};
    if (model == "inception_v3" && shared_.height == usual_size && shared_.width == usual_size)
      settings.emplace_back("image_size", fmt::format("{}", inception_size));
    add(model, model, RowKind::model, std::move(settings));
  }

  void add(const std::string& model, const std::string& name, RowKind kind, std::vector<Setting> settings) {
    if (const auto own = own_.find(model); own != own_.end())
      settings.insert(settings.end(), own->second.begin(), own->second.end());
    RunConfig config = shared_;  // so that a wrong key or value is said now
    for (const auto& [key, value] : settings) set_key(config, key, value);
    if (std::any_of(rows.begin(), rows.end(), [&](const ComparedRow& row) { return row.name == name; }))
      fail_usage(fmt::format("two rows are '{}'; name each set of modalities once", name));
    ComparedRow& row = rows.emplace_back();
    row.name = name;
    row.model = model;
    row.kind = kind;
    row.settings = std::move(settings);
  }

  const RunConfig& shared_;
  const ComparisonOptions& options_;
  std::map<std::string, std::vector<Setting>> own_;
};

// The folds to train, and a note where they are not all.
std::vector<int> folds_of(const RunConfig& shared, const Dataset& dataset, const ComparisonOptions& options,
                          std::vector<std::string>& notes) {
  std::set<int> named;
  for (const Sample& sample : dataset.samples) {
    if (sample.fold >= 0) named.insert(sample.fold);
  }
  std::vector<int> folds(named.begin(), named.end());
  if (folds.empty()) {
    for (int k = 0; k < shared.folds; ++k) folds.push_back(k);
    return folds;
  }
  const auto wanted =
      static_cast<std::size_t>(options.folds_given ? shared.folds : std::int64_t(folds.size()));
  if (wanted > folds.size()) {
    fail_usage(fmt::format("--folds {}: {} names {} folds itself; leave --folds out, or give at most {}",
                           wanted, dataset.source, folds.size(), folds.size()));
  }
  if (wanted < folds.size()) {
    notes.push_back(fmt::format(
        "Only the first {} of the set's {} folds were held out in turn, so the figures are of a part "
        "of the samples.",
        wanted, folds.size()));
  }
  folds.resize(wanted);
  return folds;
}

std::string reference_of(const std::vector<ComparedRow>& rows, const std::string& wanted) {
  std::vector<std::string> names;
  for (const ComparedRow& row : rows) names.push_back(row.name);
  if (!wanted.empty()) {
    if (std::find(names.begin(), names.end(), wanted) == names.end())
      fail_usage(fmt::format("--reference: there is no row '{}'{}", wanted, nearest_hint(wanted, names)));
    return wanted;
  }
  if (std::find(names.begin(), names.end(), "hm-vgg fundus") != names.end()) return "hm-vgg fundus";
  const auto ours =
      std::find_if(rows.begin(), rows.end(), [](const ComparedRow& row) { return row.model == "hm-vgg"; });
  return ours != rows.end() ? ours->name : rows.front().name;
}

}  // namespace

ComparisonPlan plan_comparison(const RunConfig& shared, const Dataset& dataset,
                               const ComparisonOptions& options) {
  ComparisonPlan plan;
  plan.rows = RowMaker(shared, dataset, options).rows;
  plan.reference = reference_of(plan.rows, options.reference);
  for (const int fold : folds_of(shared, dataset, options, plan.notes)) {
    for (std::uint64_t seed = shared.seed; seed < shared.seed + static_cast<std::uint64_t>(options.seeds);
         ++seed) {
      for (std::size_t r = 0; r < plan.rows.size(); ++r) {
        const ComparedRow& row = plan.rows[r];
        PlannedRun run{
            .row = r, .fold = fold, .seed = seed, .name = {}, .assignments = {"model=" + row.model}};
        run.name = fmt::format("{}/fold{}-seed{}", file_name_of(row.name), fold, seed);
        for (const auto& [key, value] : row.settings) run.assignments.push_back(key + "=" + value);
        run.assignments.push_back(fmt::format("fold={}", fold));
        run.assignments.push_back(fmt::format("seed={}", seed));
        plan.runs.push_back(std::move(run));
      }
    }
  }
  return plan;
}

}  // namespace fovea
