// report.html of a comparison holds every row, whatever became of it, and says it safely. With FOVEA_COMPARISON_PAGE=FILE
// the page of the sample goes there too, for report_browser_test.py and for whoever wants to see it.
#include "eval/comparison_report.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "eval/html.hpp"
#include "html_checks.hpp"
#include "kernels/runtime/atomic_file.hpp"

namespace fovea {
namespace {

const std::vector<std::string> classes{"non", "early", "mid or advanced"};
constexpr int folds = 5;

/// Sixty eyes; a skill of 0 guesses, one of 3 is rarely wrong.
std::vector<Prediction> predict(double skill, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto noise = [&] { return std::log(0.5 + static_cast<double>(random() >> 11) * 0x1p-53); };
  std::vector<Prediction> rows;
  for (int i = 0; i < 60; ++i) {
    Prediction p{fmt::format("eye {}", i), fmt::format("person {}", i / 2), i % 3, 0, {}};
    double sum = 0;
    for (int k = 0; k < 3; ++k)
      sum += p.probabilities.emplace_back(std::exp(6 * noise() + (k == p.label ? skill : 0)));
    for (double& v : p.probabilities) v /= sum;
    p.predicted = most_likely(p.probabilities);
    rows.push_back(p);
  }
  return rows;
}

ComparedRun run_of(const std::vector<Prediction>& predictions, int fold, std::uint64_t seed, double skill) {
  ComparedRun run;
  run.fold = fold;
  run.seed = seed;
  run.seconds = 90;
  std::vector<Prediction> held_out;
  for (std::size_t i = 0; i < predictions.size(); ++i)
    if (static_cast<int>(i / 3) % folds == fold) held_out.push_back(predictions[i]);
  run.metrics = compute_metrics(held_out, classes, {.resamples = 0});
  for (int epoch = 1; epoch <= 12; ++epoch) {
    const double left = std::exp(-0.08 * skill * epoch) + 0.02 * fold;
    run.epochs.push_back({.epoch = epoch,
                          .step = 6 * epoch,
                          .lr = 1e-4,
                          .train_loss = left,
                          .val_loss = left + 0.02 * epoch,
                          .val_accuracy = 1 - left / 2,
                          .images_per_s = 12,
                          .seconds = 7});
  }
  return run;
}

ComparedRow row_of(const std::string& name, const std::string& model, double skill,
                   std::vector<std::uint64_t> seeds = {0, 1}) {
  ComparedRow row;
  row.name = name;
  row.model = model;
  row.parameters = 11'000'000;
  row.gflops = 3.6;
  for (const std::uint64_t seed : seeds) {
    row.predictions.push_back(predict(skill, 100 * seed + static_cast<std::uint64_t>(name.size())));
    for (int fold = 0; fold < folds; ++fold)
      row.runs.push_back(run_of(row.predictions.back(), fold, seed, skill));
  }
  row.metrics = compute_seed_metrics(row.predictions, classes, {.resamples = 100});
  return row;
}

Comparison sample_comparison() {
  Comparison comparison{
      .title = "7 models on a set",
      .reference = "hm-vgg (fundus)",
      .classes = classes,
      .facts = {{"Set", "eyes"}, {"Split", "5 folds, grouped by person"}, {"Image size", "64 x 64"}},
      .notes = {"One eye was left out."},
      .rows = {row_of("vgg11", "vgg11", 2.1), row_of("resnet18", "resnet18", 1.4),
               row_of("convnext_tiny", "convnext_tiny", 0.1), row_of("hm-vgg (fundus)", "hm-vgg", 2.3),
               row_of("hm-vgg (fundus, oct, vf)", "hm-vgg", 4)},
      .hardest = {},
      .config = "lr = 1e-4\n",
      .stamp = "{\"commit\": \"abc\"}\n"};
  comparison.rows.push_back(row_of("hm-vgg (fundus) without HAM", "hm-vgg", 1.9));
  comparison.rows.back().kind = RowKind::ablation;
  comparison.rows[2].runs[3].epochs[6].val_loss = 40;  // one run that diverged for a while
  comparison.rows[2].runs[4].epochs[8].train_loss = std::numeric_limits<double>::quiet_NaN();
  ComparedRow failed;
  failed.name = failed.model = "densenet161";
  failed.runs.resize(2);
  failed.runs[0].failure = "the loss of step 7 is not finite; try a lower --lr";
  comparison.rows.insert(comparison.rows.begin() + 2, failed);
  const auto reference = comparison.rows[4].predictions;
  for (ComparedRow& row : comparison.rows) {
    if (!row.metrics || row.name == comparison.reference) continue;
    row.difference = paired_difference(row.predictions, reference, classes, {.resamples = 200});
    row.difference->p_corrected = 0.06;
  }
  comparison.rows[3].difference->p_corrected = 0.004;
  comparison.hardest = hardest_samples(comparison.rows, classes.size(), 4);
  return comparison;
}

TEST(ComparisonReport, HoldsEverything) {
  const Comparison comparison = sample_comparison();
  const std::string html = comparison_html(comparison);
  if (const char* path = std::getenv("FOVEA_COMPARISON_PAGE")) write_file_atomically(path, html);
  expect_whole(html);
  expect_parts(html,
               {"7 models on a set", "5 folds, grouped by person", "One eye was left out.", "lr = 1e-4",
                "&quot;commit&quot;", "default-src 'none'", "script-src 'unsafe-inline'",
                "<b>densenet161</b>, fold 0, seed 0: the loss of step 7 is not finite; try a lower --lr"});
  for (const char* heading :
       {"Results", "What failed", "Differences from hm-vgg (fundus)", "Spread over folds and seeds",
        "ROC curves", "Confusion matrices", "Learning curves", "Worst mistakes", "Pages of the runs",
        "Configuration", "Environment"})
    EXPECT_EQ(count(html, fmt::format("<h2>{}</h2>", heading)), 1u) << heading;
  EXPECT_EQ(count(html, "<script>"), 1u);
  EXPECT_EQ(count(html, "class=\"tag\">reference<"), 1u);
  EXPECT_EQ(count(html, "class=\"tag\">failed<"), 1u);
  EXPECT_EQ(count(html, "class=\"confusion\""), 6u) << "one for each row that has figures";
  EXPECT_EQ(count(html, "role=\"img\""), 1u + 4 + 6 + 6) << "differences, spread, ROC and losses";
}

TEST(ComparisonReport, TheTableIsThatOfTheComparison) {
  const Comparison comparison = sample_comparison();
  const std::string html = comparison_html(comparison);
  for (const ComparisonColumn& column : comparison_columns(comparison))
    expect_parts(html, {escaped(column.title)});
  for (const ComparedRow& row : comparison.rows) {
    for (const std::string& cell : comparison_cells(comparison, row)) {
      const std::size_t interval = cell.find(" [");
      expect_parts(html, {interval == std::string::npos
                              ? ">" + escaped(cell)
                              : fmt::format(">{}<small>{}</small><", cell.substr(0, interval),
                                            cell.substr(interval + 1))});
    }
    for (const double value : comparison_values(comparison, row))
      if (std::isfinite(value)) expect_parts(html, {fmt::format("data-value=\"{}\"", value)});
  }
  EXPECT_GT(html.find("scope=\"row\">densenet161"), html.find("scope=\"row\">hm-vgg (fundus) without HAM"))
      << "what has no figures comes last";
}

TEST(ComparisonReport, SpreadHasADotForEveryFoldAndSeed) {
  const std::string html = comparison_html(sample_comparison());
  EXPECT_EQ(count(html, "<path class=\"dot "), 4u * 6 * folds * 2);
  EXPECT_EQ(count(html, "<title>fold 3, seed 1: "), 4u * 6);
}

TEST(ComparisonReport, SignificanceIsMarked) {
  const std::string html = comparison_html(sample_comparison());
  EXPECT_EQ(count(html, "<abbr title="), 1u);
  expect_parts(html, {"convnext_tiny <abbr title=", "<th scope=\"row\">convnext_tiny *</th>"});
}

TEST(ComparisonReport, ThePapersColumnsHaveTheirNoteOnce) {
  Comparison comparison = sample_comparison();
  EXPECT_EQ(count(comparison_html(comparison), escaped(paper_note)), 1u);
  comparison.notes.emplace_back(paper_note);
  EXPECT_EQ(count(comparison_html(comparison), escaped(paper_note)), 1u);
  comparison.classes = {"no", "yes"};
  comparison.notes.clear();
  for (ComparedRow& row : comparison.rows) row = {};
  EXPECT_EQ(count(comparison_html(comparison), escaped(paper_note)), 0u) << "no such columns";
}

TEST(ComparisonReport, ARunThatDivergesDoesNotFlattenTheOthers) {
  expect_parts(comparison_html(sample_comparison()), {"are drawn at the upper edge."});
  Comparison calm = sample_comparison();
  for (ComparedRow& row : calm.rows)
    for (ComparedRun& run : row.runs)
      for (EpochRow& epoch : run.epochs) epoch.val_loss = epoch.train_loss = 0.5;
  EXPECT_EQ(comparison_html(calm).find("are drawn at the upper edge."), std::string::npos);
}

TEST(ComparisonReport, EscapesWhatIsGiven) {
  const std::string nasty = "<script>alert('x')</script> & \"quoted\"\x01";
  Comparison comparison = sample_comparison();
  comparison.title = comparison.reference = comparison.config = comparison.stamp = nasty;
  comparison.facts = {{nasty, nasty}};
  comparison.notes = {nasty};
  comparison.classes = {nasty, nasty, nasty};
  for (ComparedRow& row : comparison.rows) {
    row.name = row.model = nasty;
    if (row.metrics) row.metrics->classes = comparison.classes;
    if (row.difference) row.difference->test = nasty;
    for (ComparedRun& run : row.runs) run.failure = run.folder = nasty;
  }
  for (HardSample& sample : comparison.hardest) sample.id = nasty;
  const std::string html = comparison_html(comparison);
  expect_whole(html);
  EXPECT_EQ(count(html, "<script"), 1u);
  EXPECT_EQ(html.find("alert('"), std::string::npos);
  EXPECT_EQ(html.find("\"quoted"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
}

TEST(ComparisonReport, OfLittle) {
  expect_whole(comparison_html({}));
  Comparison begun;
  begun.reference = "resnet18";
  begun.classes = {"no", "yes"};
  begun.rows.resize(1);
  begun.rows[0].name = begun.rows[0].model = "resnet18";
  begun.rows[0].runs.resize(1);
  const std::string html = comparison_html(begun);
  expect_whole(html);
  expect_parts(html, {"resnet18", "not finished"});
  for (const char* heading :
       {"What failed", "Differences", "Spread", "ROC curves", "Confusion", "Learning curves"})
    EXPECT_EQ(html.find(fmt::format("<h2>{}", heading)), std::string::npos) << heading;
  Comparison alone = sample_comparison();
  alone.reference = "a row that was left out";
  for (ComparedRow& row : alone.rows) row.difference.reset();
  expect_whole(comparison_html(alone));
}

}  // namespace
}  // namespace fovea
