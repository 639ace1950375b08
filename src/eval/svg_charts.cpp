// See svg_charts.hpp.
#include "eval/svg_charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "eval/html.hpp"
#include "eval/plots.hpp"
#include "eval/svg.hpp"

namespace fovea {
namespace {

constexpr double full_width = 360;
constexpr int styles = 8, markers = 4;

/// From values to pixels.
struct Frame {
  double left, right, top, bottom;      // pixels
  double x_low, x_high, y_low, y_high;  // values
  double x(double v) const { return left + (right - left) * (v - x_low) / (x_high - x_low); }
  double y(double v) const { return bottom + (top - bottom) * (v - y_low) / (y_high - y_low); }
};

std::string tick_text(double value) { return std::abs(value) < 1e-12 ? "0" : fmt::format("{:.4g}", value); }

std::string axes(const Frame& frame, const std::vector<double>& x_ticks, const std::vector<double>& y_ticks,
                 const std::string& x_title, const std::string& y_title) {
  std::string out;
  for (const double tick : y_ticks) {
    out += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, frame.y(tick),
                       frame.right);
    out += svg_text(frame.left - 6, frame.y(tick) + 4, "end", tick_text(tick));
  }
  for (const double tick : x_ticks)
    out += svg_text(frame.x(tick), frame.bottom + 16, "middle", tick_text(tick));
  out += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, frame.bottom,
                     frame.right);
  out += svg_text((frame.left + frame.right) / 2, frame.bottom + 32, "middle", x_title);
  return out + svg_text(0, frame.top - 10, "start", y_title);
}

/// Steps of less than a tenth of a pixel are left out, so that a curve of many points stays short.
std::string path_of(const ChartLine& line, const Frame& frame) {
  std::string path, last;
  bool pen = false;
  for (const ChartPoint& point : line.points) {
    const bool drawn = plottable(point.x) && plottable(point.y);
    if (drawn) {
      const double y = std::clamp(frame.y(point.y), frame.top, frame.bottom);
      const std::string place = fmt::format("{:.1f} {:.1f}", frame.x(point.x), y);
      if (!pen) path += "M" + place;
      if (!pen || place != last) path += "L" + place;  // a lone point too: round caps make it visible
      last = place;
    }
    pen = drawn;
  }
  return path;
}

std::string style_of(const ChartLine& line) {
  return fmt::format("line s{}{}", line.style % styles, line.faint ? " faint" : "");
}

std::string marker(double x, double y, int kind, double r = 4) {
  switch (kind % markers) {
    case 1:
      return fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z", x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r,
                         1.8 * r);
    case 2:
      return fmt::format("M{:.1f} {:.1f}l{:.1f} {:.1f}h-{:.1f}z", x, y - 1.1 * r, 1.1 * r, 2 * r, 2.2 * r);
    case 3:
      return fmt::format("M{0:.1f} {1:.1f}l{2:.1f} {2:.1f}l-{2:.1f} {2:.1f}l-{2:.1f} -{2:.1f}z", x,
                         y - 1.3 * r, 1.3 * r);
    default:
      return fmt::format("M{0:.1f} {1:.1f}a{2:.1f} {2:.1f} 0 1 0 {3:.1f} 0a{2:.1f} {2:.1f} 0 1 0 -{3:.1f} 0z",
                         x - r, y, r, 2 * r);
  }
}

std::string charted(const std::string& chart, std::span<const ChartLine> lines) {
  return "<figure>" + chart + chart_legend(lines) + "</figure>\n";
}

std::vector<double> fifths() { return {0, 0.2, 0.4, 0.6, 0.8, 1}; }

/// The bar spans the bin; its interval stands where the mean confidence is, to be held against the diagonal.
std::string reliability_bar(const ReliabilityBin& bin, const Frame& frame) {
  const double x0 = frame.x(bin.low) + 1, x1 = frame.x(bin.high) - 1;
  std::string out = svg_text((x0 + x1) / 2, frame.top - 4, "middle", fmt::format("{}", bin.count));
  if (bin.count == 0) return out;
  const double x = frame.x(bin.confidence), y = frame.y(bin.accuracy);
  out += fmt::format("<path class=\"bar\" d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}V{1:.1f}z\"/>\n", x0,
                     frame.bottom, y, x1);
  out += fmt::format(
      "<path class=\"whisker\" d=\"M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h6M{3:.1f} {2:.1f}h6\"/>\n", x,
      frame.y(bin.accuracy_low), frame.y(bin.accuracy_high), x - 3);
  return out + fmt::format("<path class=\"mean\" d=\"{}\"/>\n", marker(x, y, 0, 3));
}

/// At most `count` code points.
std::string shortened(const std::string& text, std::size_t count) {
  std::size_t seen = 0, cut = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xc0) == 0x80) continue;
    if (++seen == count) cut = i;
    if (seen > count) return text.substr(0, cut) + "\xe2\x80\xa6";
  }
  return text;
}

std::vector<double> strip_ticks(std::span<const DotStrip> strips, double guide) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  const auto see = [&](double value) {
    if (!plottable(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  };
  see(guide);
  for (const DotStrip& strip : strips) {
    for (const double value : {strip.mean, strip.low, strip.high}) see(value);
    for (const DotStrip::Dot& dot : strip.dots) see(dot.value);
  }
  return axis_ticks(low, high, 5);
}

std::string draw_strip(const DotStrip& strip, const Frame& frame, double top) {
  const double middle = top + 27;
  std::string out =
      fmt::format("<g><title>{}</title><text class=\"name\" x=\"0\" y=\"{:.1f}\">{}</text></g>\n",
                  escaped(strip.name), top + 12, escaped(shortened(strip.name, 52)));
  out += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, middle, frame.right);
  for (const DotStrip::Dot& dot : strip.dots) {
    if (!plottable(dot.value)) continue;
    out += fmt::format("<path class=\"dot s{}\" d=\"{}\"><title>{}</title></path>\n", dot.marker % styles,
                       marker(frame.x(dot.value), middle, dot.marker), escaped(dot.title));
  }
  const double line = strip.dots.empty() ? middle : middle + 8;  // clear of the dots
  if (plottable(strip.low) && plottable(strip.high)) {
    out += fmt::format("<path class=\"whisker\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.x(strip.low), line,
                       frame.x(strip.high));
  }
  if (plottable(strip.mean)) {
    out +=
        fmt::format("<path class=\"mean\" d=\"M{:.1f} {:.1f}l4 6h-8z\"/>\n", frame.x(strip.mean), line - 3);
  }
  return out;
}

}  // namespace

std::string line_chart(const LineChart& chart) {
  const Frame frame{.left = 40,
                    .right = chart.width - 8,
                    .top = 24,
                    .bottom = chart.height - 38,
                    .x_low = chart.x_low,
                    .x_high = chart.x_high,
                    .y_low = chart.y_ticks.front(),
                    .y_high = chart.y_ticks.back()};
  std::string out = axes(frame, chart.x_ticks, chart.y_ticks, chart.x_title, chart.y_title);
  if (chart.diagonal) {
    out += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", frame.left,
                       frame.bottom, frame.right, frame.top);
  }
  for (const ChartLine& line : chart.lines) {
    const std::string path = path_of(line, frame);
    if (path.empty()) continue;
    out += fmt::format("<path class=\"{}\" d=\"{}\"><title>{}</title></path>\n", style_of(line), path,
                       escaped(line.name));
  }
  return svg_image(chart.width, chart.height, chart.label, out);
}

EpochAxis epoch_axis(std::span<const EpochRow> rows, std::size_t count) {
  const CurveAxes axes = curve_axes(rows);
  const std::size_t step = (axes.epochs.size() + count - 1) / count;
  EpochAxis axis{axes.first, axes.last, {}};
  for (std::size_t i = 0; i < axes.epochs.size(); i += step) axis.ticks.push_back(axes.epochs[i]);
  return axis;
}

ChartLine by_epoch(std::string name, int style, std::span<const EpochRow> rows, double EpochRow::*value) {
  ChartLine line{std::move(name), style, {}, false};
  for (const EpochRow& row : rows) line.points.push_back({static_cast<double>(row.epoch), row.*value});
  return line;
}

std::string chart_legend(std::span<const ChartLine> lines) {
  std::string items;
  std::set<std::string> named;
  for (const ChartLine& line : lines) {
    if (line.name.empty() || !named.insert(line.name).second) continue;
    items += fmt::format(
        "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"line s{}\" d=\"M2 "
        "6h24\"/></svg>{}</li>\n",
        line.style % styles, escaped(line.name));
  }
  return items.empty() ? items : "<ul class=\"legend\">\n" + items + "</ul>\n";
}

std::string learning_curves(std::span<const EpochRow> rows) {
  const EpochAxis axis = epoch_axis(rows);
  LineChart loss{.label = fmt::format("Training and validation loss over {} epochs", rows.size()),
                 .x_title = "epoch",
                 .y_title = "loss",
                 .x_low = axis.low,
                 .x_high = axis.high,
                 .x_ticks = axis.ticks,
                 .y_ticks = curve_axes(rows).losses,
                 .lines = {by_epoch("training", 0, rows, &EpochRow::train_loss),
                           by_epoch("validation", 1, rows, &EpochRow::val_loss)}};
  LineChart accuracy = loss;
  accuracy.label = fmt::format("Validation accuracy over {} epochs", rows.size());
  accuracy.y_title = "accuracy";
  accuracy.y_ticks = fifths();
  accuracy.lines = {by_epoch("validation", 1, rows, &EpochRow::val_accuracy)};
  return "<div class=\"charts\">\n" + charted(line_chart(loss), loss.lines) +
         charted(line_chart(accuracy), accuracy.lines) + "</div>\n";
}

ChartLine roc_line(const NamedRoc& roc, int style) {
  ChartLine line{fmt::format("{} (AUC {:.3f})", roc.name, roc.curve.auc), style, {}, false};
  for (const RocPoint& point : roc.curve.points)
    line.points.push_back({point.false_positive_rate, point.true_positive_rate});
  return line;
}

std::string roc_chart(std::span<const NamedRoc> curves) {
  LineChart chart{.label = "ROC curves: true positive rate by false positive rate",
                  .x_title = "false positive rate",
                  .y_title = "true positive rate",
                  .x_ticks = fifths(),
                  .y_ticks = fifths(),
                  .lines = {},
                  .diagonal = true,
                  .height = 340};
  std::string absent;
  for (const NamedRoc& named : curves) {
    if (named.curve.points.empty()) {
      absent += fmt::format("{}{}", absent.empty() ? "" : ", ", named.name);
      continue;
    }
    ChartLine line = roc_line(named, static_cast<int>(chart.lines.size()));
    chart.label += "; " + line.name;
    chart.lines.push_back(std::move(line));
  }
  std::string out = charted(line_chart(chart), chart.lines);
  if (absent.empty()) return out;
  return out +
         fmt::format("<p class=\"note\">Not defined, since every sample or none is of the class: {}.</p>\n",
                     escaped(absent));
}

std::string reliability_chart(const Calibration& calibration) {
  constexpr double height = 340;
  const Frame frame{.left = 40,
                    .right = full_width - 8,
                    .top = 40,
                    .bottom = height - 38,
                    .x_low = 0,
                    .x_high = 1,
                    .y_low = 0,
                    .y_high = 1};
  std::string out = axes(frame, fifths(), fifths(), "confidence", "");
  out += svg_text(0, 14, "start", "accuracy; above, samples in each bin");
  for (const ReliabilityBin& bin : calibration.bins) out += reliability_bar(bin, frame);
  out += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", frame.left, frame.bottom,
                     frame.right, frame.top);
  return "<figure>" +
         svg_image(
             full_width, height,
             fmt::format(
                 "Reliability diagram: accuracy by confidence in {} bins; expected calibration error {:.3f}",
                 calibration.bins.size(), calibration.ece),
             out) +
         "</figure>\n";
}

std::string dot_strips(const std::string& label, std::span<const DotStrip> strips, double guide) {
  constexpr double strip_height = 44;
  const std::vector<double> ticks = strip_ticks(strips, guide);
  const double bottom = strip_height * static_cast<double>(strips.size()) + 6;
  const Frame frame{.left = 8,
                    .right = full_width - 14,
                    .top = 0,
                    .bottom = bottom,
                    .x_low = ticks.front(),
                    .x_high = ticks.back(),
                    .y_low = 0,
                    .y_high = 1};
  std::string out;
  if (plottable(guide)) {
    out += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>\n", frame.x(guide), frame.top,
                       frame.bottom);
  }
  for (std::size_t i = 0; i < strips.size(); ++i)
    out += draw_strip(strips[i], frame, strip_height * static_cast<double>(i));
  out += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, frame.bottom,
                     frame.right);
  for (const double tick : ticks)
    out += svg_text(frame.x(tick), frame.bottom + 16, "middle", tick_text(tick));
  return svg_image(full_width, bottom + 22, label, out);
}

}  // namespace fovea
