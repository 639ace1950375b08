// Charts of the report pages, as inline SVG: they follow the reader's theme and print sharply.
//
// Units are CSS pixels of a chart that is 360 wide, a phone's width, so that letters stay readable there; a page scales it. Series differ in dash or marker as well as in hue. Every chart is an image to a screen reader, named by `label`;
// all given text is escaped. Values that are not plottable (see plots.hpp) leave a gap.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "eval/curves.hpp"
#include "eval/epoch_log.hpp"

namespace fovea {

struct ChartPoint {
  double x = 0, y = 0;
};

struct ChartLine {
  std::string name;  // of the legend
  int style = 0;     // hue and dash; goes around after 8
  std::vector<ChartPoint> points;
  bool faint = false;  // one of many
};

struct LineChart {
  std::string label, x_title, y_title;
  double x_low = 0, x_high = 1;
  std::vector<double> x_ticks, y_ticks;  // the first and the last of y are the ends of its axis
  std::vector<ChartLine> lines;
  bool diagonal = false;  // from corner to corner, dotted
  double width = 360, height = 230;
};

/// What lies above or below the axis is drawn at its end.
std::string line_chart(const LineChart& chart);

/// What a chart needs to show runs over the same epochs: ticks of the axis, at most `count` of them.
struct EpochAxis {
  double low = 0, high = 1;
  std::vector<double> ticks;
};
EpochAxis epoch_axis(std::span<const EpochRow> rows, std::size_t count = 9);

/// A curve of one value by epoch.
ChartLine by_epoch(std::string name, int style, std::span<const EpochRow> rows, double EpochRow::*value);

/// A list of the lines' names with a piece of each, for under a chart; of each name once.
std::string chart_legend(std::span<const ChartLine> lines);

/// Loss and accuracy by epoch, side by side where there is room.
std::string learning_curves(std::span<const EpochRow> rows);

struct NamedRoc {
  std::string name;
  RocCurve curve;
};
/// A curve as a line; its name with the area.
ChartLine roc_line(const NamedRoc& roc, int style);

/// The curves, chance as a dotted diagonal, and a legend with each one's area; those not defined are said to be.
std::string roc_chart(std::span<const NamedRoc> curves);

/// Accuracy by confidence: a bar and its interval for each bin, its number of samples above, equality dotted.
std::string reliability_chart(const Calibration& calibration);

struct DotStrip {
  struct Dot {
    double value = 0;
    int marker = 0;     // circle, square, triangle or diamond; goes around after 4
    std::string title;  // what a pointer that rests on it is told
  };
  std::string name;
  std::vector<Dot> dots;
  double mean = 0, low = 0,
         high = 0;  // a bar from low to high under the dots, with a mark at the mean; NaN: none
};
/// One strip for each row, under its name, over a common axis; a dotted line down through all of them at `guide` (NaN:
/// none).
std::string dot_strips(const std::string& label, std::span<const DotStrip> strips, double guide);

}  // namespace fovea
