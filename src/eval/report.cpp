// report.html: a section each for what a reader asks of a run, in that order: how good, which errors, how sure, how it
// learned, with what.
#include "eval/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "eval/curves.hpp"
#include "eval/svg_charts.hpp"
#include "kernels/runtime/atomic_file.hpp"

namespace fovea {
namespace {

std::string metrics_table_html(const Metrics& metrics, const PaperRow* paper) {
  std::string html = fmt::format(
      "<div class=\"wide\"><table><thead><tr><th>metric</th><th>value</th><th>95 % "
      "interval</th>{}</tr></thead><tbody>\n",
      paper ? "<th>paper</th>" : "");
  for (const NamedMetric& metric : named_metrics()) {
    const MetricValue& value = metrics.*metric.member;
    html += fmt::format("<tr><td>{}</td><td>{:.3f}</td><td>{:.3f} to {:.3f}</td>", escaped(metric.title),
                        value.value, value.low, value.high);
    if (paper) {
      const double printed = paper_value(*paper, metric.name);
      html += std::isnan(printed) ? "<td></td>" : fmt::format("<td>{:.2f}</td>", printed);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string class_table_html(const Metrics& metrics) {
  std::string html =
      "<div class=\"wide\"><table><thead><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th>"
      "<th>samples</th></tr></thead><tbody>\n";
  for (std::size_t k = 0; k < metrics.per_class.size(); ++k) {
    const ClassScores& scores = metrics.per_class[k];
    html += fmt::format("<tr><td>{}</td><td>{:.3f}</td><td>{:.3f}</td><td>{:.3f}</td><td>{}</td></tr>\n",
                        escaped(metrics.classes.at(k)), scores.precision, scores.recall, scores.f1,
                        scores.samples);
  }
  return html + "</tbody></table></div>\n";
}

std::string metrics_section(const Metrics& metrics, const std::string& model) {
  const PaperRow* paper = paper_row(model, metrics.classes.size());
  return metrics_table_html(metrics, paper) +
         fmt::format(
             "<p class=\"note\">n = {}; percentile bootstrap over subjects. Averages run over all classes; "
             "what "
             "would divide by zero counts as 0.{}{}</p>\n",
             metrics.n, paper ? " " : "", paper ? escaped(paper_note) : "") +
         class_table_html(metrics);
}

std::string roc_section(const ReportInput& input) {
  std::vector<NamedRoc> curves;
  std::vector<RocCurve> plain;
  for (std::size_t k = 0; k < input.metrics->classes.size(); ++k) {
    curves.push_back({input.metrics->classes[k], roc_curve(input.predictions, k)});
    plain.push_back(curves.back().curve);
  }
  curves.push_back({"mean of classes", mean_roc(plain)});
  return "<section><h2>ROC curves</h2>\n" + roc_chart(curves) +
         "<p class=\"note\">Each class against the rest, over all thresholds on its probability; samples "
         "that tie "
         "pass one together. The dotted line is chance.</p></section>\n";
}

std::string calibration_section(const ReportInput& input) {
  const Calibration result = calibration(input.predictions);
  return fmt::format(
      "<section><h2>Calibration</h2>\n{}<p class=\"note\">Expected calibration error <b>{:.3f}</b>: the mean "
      "over samples "
      "of |accuracy - confidence| of their bin, {} bins of equal width, confidence the probability of the "
      "predicted "
      "class. Brier score <b>{:.3f}</b>: the mean over samples of the sum over classes of (probability - "
      "truth)&sup2;, "
      "from 0 to 2. The dotted line is perfect calibration; whiskers are 95 % intervals "
      "(Wilson).</p></section>\n",
      reliability_chart(result), result.ece, result.bins.size(), result.brier);
}

std::string class_name(const ReportInput& input, int k) {
  const auto at = static_cast<std::size_t>(k);
  if (input.metrics && at < input.metrics->classes.size()) return input.metrics->classes[at];
  return fmt::format("class {}", k);
}

std::string mistake_card(const ReportInput& input, const Mistake& mistake) {
  const Prediction& p = mistake.prediction;
  std::string body =
      fmt::format("<p>labelled <b>{}</b>, predicted <b>{}</b></p>\n", escaped(class_name(input, p.label)),
                  escaped(class_name(input, p.predicted)));
  if (!p.subject.empty() && p.subject != p.id)
    body += fmt::format("<p class=\"note\">subject {}</p>\n", escaped(p.subject));
  std::vector<CardShare> shares;
  for (std::size_t k = 0; k < p.probabilities.size(); ++k) {
    shares.push_back({class_name(input, static_cast<int>(k)), fmt::format("{:.3f}", p.probabilities[k]),
                      p.probabilities[k]});
  }
  return card_html(p.id, mistake.pictures, body, shares);
}

std::string mistakes_section(const ReportInput& input) {
  std::string html = "<h2>Worst mistakes</h2>\n";
  if (input.mistakes.empty()) {
    const bool none_wrong =
        std::all_of(input.predictions.begin(), input.predictions.end(),
                    [](const Prediction& p) { return p.label < 0 || p.label == p.predicted; });
    return html +
           fmt::format("<p class=\"note\">{}</p>\n",
                       none_wrong ? "Every sample is predicted as it is labelled." : "None are shown.");
  }
  html +=
      "<p class=\"note\">The samples that are wrong with the highest confidence, as the network saw "
      "them.</p>\n"
      "<div class=\"cards\">\n";
  for (const Mistake& mistake : input.mistakes) html += mistake_card(input, mistake);
  return html + "</div>\n";
}

std::string maps_section(const ReportInput& input) {
  if (input.maps.empty()) return {};
  std::string html = "<h2>Class activation maps</h2>\n<div class=\"charts\">\n";
  for (const Picture& picture : input.maps) html += picture_html(picture);
  return html + "</div>\n";
}

}  // namespace

std::vector<Prediction> most_confident_mistakes(std::span<const Prediction> predictions, std::size_t count) {
  std::vector<Prediction> wrong;
  for (const Prediction& p : predictions)
    if (p.label >= 0 && p.label != p.predicted) wrong.push_back(p);
  const auto confidence = [](const Prediction& p) {
    return p.probabilities.at(static_cast<std::size_t>(p.predicted));
  };
  std::stable_sort(wrong.begin(), wrong.end(),
                   [&](const Prediction& a, const Prediction& b) { return confidence(a) > confidence(b); });
  wrong.resize(std::min(wrong.size(), count));
  return wrong;
}

std::string report_html(const ReportInput& input) {
  std::string body = facts_html(input.facts) + notes_html(input.notes);
  body += "<h2>Metrics</h2>\n";
  body += input.metrics ? metrics_section(*input.metrics, input.model)
                        : "<p class=\"note\">Not evaluated yet.</p>\n";
  if (input.metrics) body += "<h2>Confusion matrix</h2>\n" + confusion_html(*input.metrics);
  if (input.metrics && !input.predictions.empty()) {
    body += "<div class=\"charts\">\n" + roc_section(input) + calibration_section(input) + "</div>\n" +
            mistakes_section(input);
  }
  body += maps_section(input);
  body += "<h2>Learning curves</h2>\n";
  body += input.rows.empty() ? "<p class=\"note\">No epoch finished yet.</p>\n" : learning_curves(input.rows);
  if (!input.profile.empty()) body += "<h2>Profile of the training step</h2>\n" + input.profile;
  body += listing_html("Configuration", input.config) + listing_html("Environment", input.stamp);
  return page_html(input.title.empty() ? "Training run" : input.title, body);
}

void write_report(const std::string& run_folder, const ReportInput& input) {
  write_file_atomically((std::filesystem::path(run_folder) / "report.html").string(), report_html(input));
}

}  // namespace fovea
