// report.html: a run on one page that needs nothing else: no network, no scripts; light and dark, wide and narrow.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eval/epoch_log.hpp"
#include "eval/html.hpp"
#include "eval/metrics.hpp"
#include "eval/predictions.hpp"

namespace fovea {

/// A sample that the network got wrong.
struct Mistake {
  Prediction prediction;          // label and predicted differ
  std::vector<Picture> pictures;  // what the network saw, and, where there are any, maps over it
};

/// At most `count` of those whose prediction is not their label: first the one whose predicted class has the highest
/// probability; in the order given where that is equal. What has no label is passed over.
std::vector<Prediction> most_confident_mistakes(std::span<const Prediction> predictions, std::size_t count);

struct ReportInput {
  std::string title;                                       // empty: "Training run"
  std::string model;                                       // picks the paper's row of Table 1
  std::vector<std::pair<std::string, std::string>> facts;  // under the title: data, fold, best epoch, ...
  std::optional<Metrics> metrics;                          // none: said so
  std::vector<Prediction> predictions;  // those of the metrics; none: no ROC, no calibration
  std::vector<EpochRow> rows;
  std::vector<Mistake> mistakes;   // the worst of them, worst first
  std::vector<Picture> maps;       // a sheet of class activation maps; none: no such section
  std::string profile = {};        // HTML of profile_report.hpp, taken as it is; empty: no such section
  std::string config;              // config.toml as it is
  std::string stamp;               // stamp.json as it is
  std::vector<std::string> notes;  // sentences shown as a list
};

/// The page as text; all given text is escaped. Error where a picture is neither PNG nor JPEG, or where predictions are
/// not as compute_metrics takes them.
std::string report_html(const ReportInput& input);

/// Writes `run_folder`/report.html, whole or not at all.
void write_report(const std::string& run_folder, const ReportInput& input);

}  // namespace fovea
