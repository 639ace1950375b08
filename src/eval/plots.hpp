// Pictures of a run: learning curves and confusion matrix, drawn with cairo to PNG at twice the nominal size.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "eval/epoch_log.hpp"
#include "eval/metrics.hpp"

namespace fovea {

/// Training and validation loss against the left axis, validation accuracy against the right one (0 to 1), by
/// epoch. Gaps where a value is not finite. Rows may be none. The file is written whole or not at all.
void draw_curves(const std::string& path, std::span<const EpochRow> rows);

/// Rows: label, columns: prediction; each cell has its count and its share of the row, which also tints it.
void draw_confusion(const std::string& path, const Confusion& confusion,
                    const std::vector<std::string>& classes);

/// Round numbers (1, 2 or 5 times a power of ten) that cover [low, high] with about `count` steps: the first
/// is at most low, the last at least high. For low = high or limits that are not plottable, those of a range
/// around them.
std::vector<double> axis_ticks(double low, double high, int count);

/// Whether a value can have a place in a picture: finite, and not so large (1e30) that arithmetic on it may
/// overflow.
bool plottable(double value);

/// What the axes of the learning curves span; shared by the picture and the report.
struct CurveAxes {
  std::vector<double> epochs, losses;  // ticks
  double first = 0, last = 1;          // epoch at the left and right end
};
CurveAxes curve_axes(std::span<const EpochRow> rows);

}  // namespace fovea
