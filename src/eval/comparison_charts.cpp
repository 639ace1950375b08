// See comparison_charts.hpp. Small multiples: a panel a row, all over the same axes.
#include "eval/comparison_charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "eval/curves.hpp"
#include "eval/html.hpp"
#include "eval/plots.hpp"

namespace fovea {
namespace {

constexpr double small_width = 220, small_height = 190;

std::string panel(const std::string& name, const std::string& chart) {
  return fmt::format("<figure><h3>{}</h3>{}</figure>\n", escaped(name), chart);
}

/// A marker for each seed, in the order in which they turn up.
int marker_of(const ComparedRow& row, std::uint64_t seed) {
  std::vector<std::uint64_t> seeds;
  for (const ComparedRun& run : row.runs)
    if (std::find(seeds.begin(), seeds.end(), run.seed) == seeds.end()) seeds.push_back(run.seed);
  return static_cast<int>(std::find(seeds.begin(), seeds.end(), seed) - seeds.begin());
}

DotStrip strip_of(const ComparedRow& row, MetricValue Metrics::*metric) {
  const MetricValue& pooled = (*row.metrics).*metric;
  DotStrip strip{row.name, {}, pooled.value, pooled.low, pooled.high};
  for (const ComparedRun& run : row.runs) {
    if (!run.metrics) continue;
    const double value = ((*run.metrics).*metric).value;
    strip.dots.push_back({value, marker_of(row, run.seed),
                          fmt::format("fold {}, seed {}: {:.3f}", run.fold, run.seed, value)});
  }
  return strip;
}

std::string spread_chart(const Comparison& comparison, const NamedMetric& metric) {
  std::vector<DotStrip> strips;
  double guide = std::numeric_limits<double>::quiet_NaN();
  for (const ComparedRow& row : comparison.rows) {
    if (!row.metrics) continue;
    strips.push_back(strip_of(row, metric.member));
    if (row.name == comparison.reference) guide = strips.back().mean;
  }
  if (strips.empty()) return {};
  const std::string label = fmt::format("{} of each fold and seed, by row", metric.title);
  return panel(std::string(metric.title), dot_strips(label, strips, guide));
}

RocCurve mean_roc_of(const ComparedRow& row, std::size_t classes) {
  std::vector<RocCurve> curves;
  for (const std::vector<Prediction>& seed : row.predictions)
    for (std::size_t k = 0; k < classes; ++k) curves.push_back(roc_curve(seed, k));
  return mean_roc(curves);
}

/// Losses up to which the axis goes: a run that diverges must not flatten all others.
double highest_loss(std::vector<double> losses) {
  std::sort(losses.begin(), losses.end());
  const double usual = losses[losses.size() * 9 / 10];
  return std::min(losses.back(), 2 * usual);
}

struct CommonAxes {
  EpochAxis epochs;
  std::vector<double> losses;  // ticks
  bool cut = false;            // there are losses above the last tick
};

CommonAxes common_axes(const Comparison& comparison) {
  std::vector<EpochRow> all;
  for (const ComparedRow& row : comparison.rows)
    for (const ComparedRun& run : row.runs) all.insert(all.end(), run.epochs.begin(), run.epochs.end());
  std::vector<double> losses;
  for (const EpochRow& row : all)
    for (const double loss : {row.train_loss, row.val_loss})
      if (plottable(loss)) losses.push_back(loss);
  CommonAxes axes{epoch_axis(all, 4), {0, 1}, false};
  if (losses.empty()) return axes;
  axes.losses =
      axis_ticks(std::min(0.0, *std::min_element(losses.begin(), losses.end())), highest_loss(losses), 4);
  axes.cut = *std::max_element(losses.begin(), losses.end()) > axes.losses.back();
  return axes;
}

LineChart loss_chart(const ComparedRow& row, const CommonAxes& axes) {
  LineChart chart{.label = fmt::format("Losses of {} by epoch, {} runs", row.name, row.runs.size()),
                  .x_title = "epoch",
                  .y_title = "loss",
                  .x_low = axes.epochs.low,
                  .x_high = axes.epochs.high,
                  .x_ticks = axes.epochs.ticks,
                  .y_ticks = axes.losses,
                  .lines = {},
                  .width = small_width,
                  .height = small_height};
  for (const ComparedRun& run : row.runs) {
    chart.lines.push_back(by_epoch("training", 0, run.epochs, &EpochRow::train_loss));
    chart.lines.push_back(by_epoch("validation", 1, run.epochs, &EpochRow::val_loss));
  }
  for (ChartLine& line : chart.lines) line.faint = row.runs.size() > 1;
  return chart;
}

}  // namespace

std::string spread_section(const Comparison& comparison) {
  std::string charts;
  for (const NamedMetric& metric : named_metrics()) {
    if (metric.name == "accuracy" || metric.name == "f1" || metric.name == "kappa" || metric.name == "auroc")
      charts += spread_chart(comparison, metric);
  }
  if (charts.empty()) return {};
  return "<h2>Spread over folds and seeds</h2>\n<div class=\"charts\">\n" + charts +
         "</div>\n<p class=\"note\">A mark is a fold of a seed, seeds by shape. The triangle under them is "
         "the row's "
         "figure, pooled over the folds, the bar its 95 % interval; the dotted line is the "
         "reference's.</p>\n";
}

std::string roc_section(const Comparison& comparison) {
  const std::size_t classes = comparison.classes.size();
  const auto reference =
      std::find_if(comparison.rows.begin(), comparison.rows.end(),
                   [&](const ComparedRow& row) { return row.name == comparison.reference; });
  const bool has_reference = reference != comparison.rows.end() && !reference->predictions.empty();
  ChartLine beneath;
  if (has_reference) beneath = roc_line({reference->name, mean_roc_of(*reference, classes)}, 6);
  std::string panels;
  for (const ComparedRow& row : comparison.rows) {
    if (row.predictions.empty()) continue;
    const RocCurve curve = mean_roc_of(row, classes);
    if (curve.points.empty()) continue;
    LineChart chart{.label = fmt::format("ROC curve of {}: AUC {:.3f}", row.name, curve.auc),
                    .x_title = "false positive rate",
                    .y_title = fmt::format("true positive rate; AUC {:.3f}", curve.auc),
                    .x_ticks = {0, 0.5, 1},
                    .y_ticks = {0, 0.5, 1},
                    .lines = {},
                    .diagonal = true,
                    .width = small_width,
                    .height = small_width};
    if (has_reference && row.name != reference->name) chart.lines.push_back(beneath);
    chart.lines.push_back(roc_line({row.name, curve}, 0));
    panels += panel(row.name, line_chart(chart));
  }
  if (panels.empty()) return {};
  return "<h2>ROC curves</h2>\n<div class=\"charts small\">\n" + panels +
         fmt::format(
             "</div>\n<p class=\"note\">The mean over classes, each against the rest, and over seeds{}; "
             "dotted: "
             "chance.</p>\n",
             has_reference ? fmt::format(". Grey: {}", escaped(reference->name)) : "");
}

std::string curves_section(const Comparison& comparison) {
  const CommonAxes axes = common_axes(comparison);
  std::string panels, legend;
  for (const ComparedRow& row : comparison.rows) {
    const bool any = std::any_of(row.runs.begin(), row.runs.end(),
                                 [](const ComparedRun& run) { return !run.epochs.empty(); });
    if (!any) continue;
    const LineChart chart = loss_chart(row, axes);
    panels += panel(row.name, line_chart(chart));
    legend = chart_legend(chart.lines);
  }
  if (panels.empty()) return {};
  return "<h2>Learning curves</h2>\n" + legend + "<div class=\"charts small\">\n" + panels + "</div>\n" +
         fmt::format(
             "<p class=\"note\">One line for each fold and seed.{}</p>\n",
             axes.cut ? fmt::format(" Losses above {:.4g} are drawn at the upper edge.", axes.losses.back())
                      : "");
}

}  // namespace fovea
