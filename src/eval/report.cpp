// report.html: curves are an inline SVG and the confusion matrix a table, so that both follow the reader's
// theme.
#include "eval/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include "eval/plots.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr std::string_view style = R"(
:root { --page: #fff; --ink: #1f242b; --soft: #5f6772; --line: #dfe3e8; --card: #f6f7f9; --tint: 0, 114, 178;
  --train: #0072b2; --val: #c85a00; --accuracy: #00805f; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e6e9ed; --soft: #9aa3ae; --line: #333a43; --card: #1d2127;
  --tint: 70, 150, 210; --train: #56b4e9; --val: #f0913a; --accuracy: #35c39a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; }
.confusion td { text-align: center; min-width: 4.2rem; background: rgba(var(--tint), calc(var(--share) * .6)); border: 2px solid var(--page); }
.confusion small { display: block; color: inherit; opacity: .75; }
.note, figcaption { color: var(--soft); font-size: .9rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; overflow-x: auto; font-size: .82rem; line-height: 1.4; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.train, .val, .accuracy { fill: none; stroke-width: 2; stroke-linejoin: round; }
.train { stroke: var(--train); } .val { stroke: var(--val); stroke-dasharray: 7 3; } .accuracy { stroke: var(--accuracy); stroke-dasharray: 2 2.5; }
@media (max-width: 32rem) { th, td { padding: .3rem .4rem; font-size: .85rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; } }
)";

/// Text for HTML content and quoted attributes; control characters, which HTML does not allow, become '?'.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f
                      ? '?'
                      : c;
    }
  }
  return result;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      text += i + j > bytes.size() ? '=' : digits[group >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string metrics_section(const Metrics& metrics, const std::string& model) {
  const PaperRow* paper = paper_row(model, metrics.classes.size());
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
  html += fmt::format(
      "</tbody></table></div>\n<p class=\"note\">n = {}; percentile bootstrap over samples. Averages run "
      "over all classes; what would "
      "divide by zero counts as 0.{}{}</p>\n",
      metrics.n, paper ? " " : "", paper ? escaped(paper_note) : "");
  html +=
      "<div "
      "class=\"wide\"><table><thead><tr><th>class</th><th>precision</th><th>recall</th><th>F1</"
      "th><th>samples</th></tr></thead><tbody>\n";
  for (std::size_t k = 0; k < metrics.per_class.size(); ++k) {
    const ClassScores& scores = metrics.per_class[k];
    html += fmt::format("<tr><td>{}</td><td>{:.3f}</td><td>{:.3f}</td><td>{:.3f}</td><td>{}</td></tr>\n",
                        escaped(metrics.classes.at(k)), scores.precision, scores.recall, scores.f1,
                        scores.samples);
  }
  return html + "</tbody></table></div>\n";
}

std::string confusion_section(const Metrics& metrics) {
  std::string html = "<div class=\"wide\"><table class=\"confusion\"><thead><tr><th>label \\ predicted</th>";
  for (const std::string& name : metrics.classes) html += fmt::format("<th>{}</th>", escaped(name));
  html += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < metrics.confusion.size(); ++i) {
    html += fmt::format("<tr><th>{}</th>", escaped(metrics.classes.at(i)));
    double total = 0;
    for (const std::int64_t n : metrics.confusion[i]) total += static_cast<double>(n);
    for (const std::int64_t n : metrics.confusion[i]) {
      const double share = total > 0 ? static_cast<double>(n) / total : 0;
      html +=
          fmt::format("<td style=\"--share:{:.3f}\">{}<small>{:.0f} %</small></td>", share, n, 100 * share);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

constexpr double plot_left = 56, plot_right = 664, plot_top = 36, plot_bottom = 300;

/// One path with a gap wherever the value is not plottable; round caps make a lone point visible.
template <class X, class Y>
std::string svg_path(const std::vector<EpochRow>& rows, double EpochRow::*value, const char* kind, X x_of,
                     Y y_of) {
  std::string path;
  bool pen = false;
  for (const EpochRow& row : rows) {
    const double y = row.*value;
    if (plottable(y)) path += fmt::format("{}{:.1f} {:.1f}", pen ? "L" : "M", x_of(row.epoch), y_of(y));
    if (plottable(y) && !pen) path += fmt::format("L{:.1f} {:.1f}", x_of(row.epoch), y_of(y));
    pen = plottable(y);
  }
  return path.empty() ? path
                      : fmt::format("<path class=\"{}\" stroke-linecap=\"round\" d=\"{}\"/>\n", kind, path);
}

std::string curves_svg(const std::vector<EpochRow>& rows) {
  const CurveAxes axes = curve_axes(rows);
  const double low = axes.losses.front(), high = axes.losses.back();
  const auto x_of = [&](double epoch) {
    return plot_left + (plot_right - plot_left) * (epoch - axes.first) / (axes.last - axes.first);
  };
  const auto loss_y = [&](double v) {
    return plot_bottom + (plot_top - plot_bottom) * (v - low) / (high - low);
  };
  const auto accuracy_y = [&](double v) { return plot_bottom + (plot_top - plot_bottom) * v; };
  std::string svg =
      "<svg viewBox=\"0 0 720 344\" role=\"img\" aria-label=\"Learning curves: loss and accuracy by "
      "epoch\">\n";
  for (const double tick : axes.losses) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"{}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{:.4g}</text>\n",
        plot_left, plot_right, loss_y(tick), loss_y(tick), plot_left - 6, loss_y(tick) + 4, tick);
  }
  for (const double tick : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\">{:.2f}</text>\n", plot_right + 8, accuracy_y(tick) + 4,
                       tick);
  }
  for (const double tick : axes.epochs) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f}</text>\n", x_of(tick),
                       plot_bottom + 18, tick);
  }
  svg += fmt::format(
      "<path class=\"axis\" fill=\"none\" d=\"M{0} {2}V{3}H{1}V{2}\"/><text x=\"{4}\" y=\"338\" "
      "text-anchor=\"middle\">epoch</text>\n",
      plot_left, plot_right, plot_top, plot_bottom, (plot_left + plot_right) / 2);
  svg += svg_path(rows, &EpochRow::train_loss, "train", x_of, loss_y);
  svg += svg_path(rows, &EpochRow::val_loss, "val", x_of, loss_y);
  svg += svg_path(rows, &EpochRow::val_accuracy, "accuracy", x_of, accuracy_y);
  constexpr std::array<std::array<const char*, 2>, 3> legend{
      {{"train", "training loss"}, {"val", "validation loss"}, {"accuracy", "validation accuracy (right)"}}};
  for (std::size_t i = 0; i < legend.size(); ++i) {
    const double x = plot_left + 170.0 * static_cast<double>(i);
    svg += fmt::format("<path class=\"{}\" d=\"M{} 14h26\"/><text x=\"{}\" y=\"18\">{}</text>\n",
                       legend[i][0], x, x + 32, legend[i][1]);
  }
  return svg + "</svg>\n";
}

std::string picture(const std::string& caption, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in.is_open() || !bytes.starts_with("\x89PNG\r\n\x1a\n"))
    fail(fmt::format("cannot put {} into the report: it is not a PNG file", path));
  return fmt::format(
      "<figure><img alt=\"{0}\" src=\"data:image/png;base64,{1}\"><figcaption>{0}</figcaption></figure>\n",
      escaped(caption), base64(bytes));
}

}  // namespace

std::string report_html(const ReportInput& input) {
  const std::string title = escaped(input.title.empty() ? "Training run" : input.title);
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n"
      "<title>{0}</title><style>{1}</style></head><body><main>\n<h1>{0}</h1>\n",
      title, style);
  if (!input.facts.empty()) {
    html += "<dl>\n";
    for (const auto& [name, value] : input.facts)
      html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
    html += "</dl>\n";
  }
  if (!input.notes.empty()) {
    html += "<ul>\n";
    for (const std::string& note : input.notes) html += fmt::format("<li>{}</li>\n", escaped(note));
    html += "</ul>\n";
  }
  html += "<h2>Metrics on the held-out part</h2>\n";
  html += input.metrics ? metrics_section(*input.metrics, input.model)
                        : "<p class=\"note\">Not evaluated yet.</p>\n";
  if (input.metrics) html += "<h2>Confusion matrix</h2>\n" + confusion_section(*input.metrics);
  html += "<h2>Learning curves</h2>\n";
  html += input.rows.empty() ? "<p class=\"note\">No epoch finished yet.</p>\n" : curves_svg(input.rows);
  if (!input.pictures.empty()) html += "<h2>Pictures</h2>\n";
  for (const auto& [caption, path] : input.pictures) html += picture(caption, path);
  if (!input.config.empty())
    html += fmt::format("<h2>Configuration</h2>\n<pre>{}</pre>\n", escaped(input.config));
  if (!input.stamp.empty())
    html += fmt::format("<h2>Environment</h2>\n<pre>{}</pre>\n", escaped(input.stamp));
  return html + "</main></body></html>\n";
}

void write_report(const std::string& run_folder, const ReportInput& input) {
  write_file_atomically((std::filesystem::path(run_folder) / "report.html").string(), report_html(input));
}

}  // namespace fovea
