// report.html: a run on one page that needs nothing else: no network, no scripts; light and dark, wide and
// narrow.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/epoch_log.hpp"
#include "eval/metrics.hpp"

namespace fovea {

struct ReportInput {
  std::string title;  // empty: "Training run"
  std::string model;  // picks the paper's row of Table 1
  std::vector<std::pair<std::string, std::string>>
      facts;                       // shown under the title: data, fold, best epoch, ...
  std::optional<Metrics> metrics;  // none: said so
  std::vector<EpochRow> rows;
  std::string config;                                         // config.toml as it is
  std::string stamp;                                          // stamp.json as it is
  std::vector<std::string> notes;                             // sentences shown as a list
  std::vector<std::pair<std::string, std::string>> pictures;  // caption, path of a PNG to embed
};

/// The page as text; all given text is escaped. Error where a picture cannot be read or is no PNG.
std::string report_html(const ReportInput& input);

/// Writes `run_folder`/report.html, whole or not at all.
void write_report(const std::string& run_folder, const ReportInput& input);

}  // namespace fovea
