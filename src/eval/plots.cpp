// Pictures of a run. Colours: Okabe & Ito's blue, vermilion and green, apart for colour-blind readers too;
// the lines differ in dash as well.
#include "eval/plots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "eval/sheet.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using namespace palette;

/// The ends of what is finite among the losses.
std::pair<double, double> loss_range(std::span<const EpochRow> rows) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const EpochRow& row : rows) {
    for (const double loss : {row.train_loss, row.val_loss}) {
      if (!plottable(loss)) continue;
      low = std::min(low, loss);
      high = std::max(high, loss);
    }
  }
  if (low > high) return {0, 1};
  return {std::min(low, 0.0), high};
}

}  // namespace

bool plottable(double value) { return std::isfinite(value) && std::abs(value) < 1e30; }

std::vector<double> axis_ticks(double low, double high, int count) {
  if (!plottable(low) || !plottable(high) || low > high) low = 0, high = 1;
  // A range narrower than rounding can part is widened around its place.
  const double least = std::max(std::max(std::abs(low), std::abs(high)) * 1e-9, 1e-30);
  if (high - low <= least) {
    const double half = std::abs(low) < 1e-20 ? 0.5 : std::abs(low) / 2;
    low -= half;
    high += half;
  }
  const double rough = (high - low) / std::max(count, 1),
               power = std::pow(10.0, std::floor(std::log10(rough)));
  const double lead = rough / power, step = power * (lead <= 1.0000001 ? 1
                                                     : lead <= 2       ? 2
                                                     : lead <= 5       ? 5
                                                                       : 10);
  std::vector<double> ticks;
  // Multiples of the step, not sums, so that rounding does not pile up; a hair of tolerance keeps exact ends.
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double k = first; k <= last; ++k) ticks.push_back(k * step);
  return ticks;
}

CurveAxes curve_axes(std::span<const EpochRow> rows) {
  CurveAxes axes;
  if (!rows.empty()) {
    const auto [first, last] = std::minmax_element(
        rows.begin(), rows.end(), [](const EpochRow& a, const EpochRow& b) { return a.epoch < b.epoch; });
    axes.first = first->epoch;
    axes.last = last->epoch;
  }
  if (axes.last <= axes.first) {
    const double middle = axes.first;
    axes.first = middle - 1;
    axes.last = middle + 1;
  }
  for (const double tick : axis_ticks(axes.first, axes.last, 8)) {
    if (tick >= axes.first && tick <= axes.last && tick == std::floor(tick)) axes.epochs.push_back(tick);
  }
  const auto [low, high] = loss_range(rows);
  axes.losses = axis_ticks(low, high, 5);
  return axes;
}

void draw_curves(const std::string& path, std::span<const EpochRow> rows) {
  constexpr double width = 720, height = 420, left = 66, right = 62, top = 72, bottom = 54;
  constexpr double x0 = left, x1 = width - right, y0 = height - bottom, y1 = top;
  Sheet sheet(width, height);
  const CurveAxes axes = curve_axes(rows);
  const auto x_of = [&](double epoch) {
    return x0 + (x1 - x0) * (epoch - axes.first) / (axes.last - axes.first);
  };
  const auto loss_y = [&](double v) {
    return y0 + (y1 - y0) * (v - axes.losses.front()) / (axes.losses.back() - axes.losses.front());
  };
  const auto accuracy_y = [&](double v) { return y0 + (y1 - y0) * v; };

  sheet.text(left, 24, "Learning curves", 16, ink, Align::left, true);
  for (const double tick : axes.losses) {
    sheet.line(x0, loss_y(tick), x1, loss_y(tick), grid);
    sheet.text(x0 - 8, loss_y(tick), fmt::format("{:.4g}", tick), 11, soft, Align::right);
  }
  for (const double tick : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    sheet.line(x1, accuracy_y(tick), x1 + 4, accuracy_y(tick), soft);
    sheet.text(x1 + 8, accuracy_y(tick), fmt::format("{:.2f}", tick), 11, green);
  }
  for (const double tick : axes.epochs) {
    sheet.line(x_of(tick), y0, x_of(tick), y0 + 4, soft);
    sheet.text(x_of(tick), y0 + 15, fmt::format("{:.0f}", tick), 11, soft, Align::centre);
  }
  sheet.line(x0, y0, x1, y0, soft);
  sheet.line(x0, y0, x0, y1, soft);
  sheet.line(x1, y0, x1, y1, soft);
  sheet.text((x0 + x1) / 2, height - 16, "epoch", 12, ink, Align::centre);
  sheet.upright_text(16, (y0 + y1) / 2, "loss", 12, ink);
  sheet.upright_text(width - 14, (y0 + y1) / 2, "accuracy", 12, green, true);

  struct Series {
    const char* name;
    double EpochRow::*value;
    std::function<double(double)> y_of;
    Colour colour;
    std::vector<double> dash;
  };
  const Series all[] = {
      {"training loss", &EpochRow::train_loss, loss_y, blue, {}},
      {"validation loss", &EpochRow::val_loss, loss_y, vermilion, {7, 3}},
      {"validation accuracy (right)", &EpochRow::val_accuracy, accuracy_y, green, {2, 2.5}}};
  double legend = left;
  for (const Series& series : all) {
    std::vector<double> xs, ys;
    for (const EpochRow& row : rows) {
      xs.push_back(x_of(row.epoch));
      const double value = row.*series.value;
      ys.push_back(plottable(value) ? series.y_of(value) : std::numeric_limits<double>::quiet_NaN());
    }
    sheet.curve(xs, ys, series.colour, series.dash);
    sheet.curve({legend, legend + 26}, {50, 50}, series.colour, series.dash);
    sheet.text(legend + 32, 50, series.name, 12, ink);
    legend += 32 + sheet.width_of(series.name, 12) + 24;
  }
  if (rows.empty())
    sheet.text((x0 + x1) / 2, (y0 + y1) / 2, "no epoch finished yet", 13, soft, Align::centre);
  sheet.save(path);
}

void draw_confusion(const std::string& path, const Confusion& confusion,
                    const std::vector<std::string>& classes) {
  const std::size_t count = confusion.size();
  if (count != classes.size() || count == 0) {
    fail(fmt::format("cannot draw {}: a confusion matrix of {} rows and {} class names", path, count,
                     classes.size()));
  }
  const double cell = std::clamp(480.0 / static_cast<double>(count), 26.0, 110.0), names = 118,
               left = 38 + names, top = 84;
  const double side = cell * static_cast<double>(count);
  const double width = std::max(left + side + 30, 380.0), height = top + side + 20;
  Sheet sheet(width, height);
  sheet.text(20, 24, "Confusion matrix", 16, ink, Align::left, true);
  sheet.text(left + side / 2, 46, "predicted", 12, ink, Align::centre);
  sheet.upright_text(18, top + side / 2, "label", 12, ink);
  const double size = std::clamp(cell / 5, 8.0, 16.0), label_size = std::min(size, 12.0);
  for (std::size_t i = 0; i < count; ++i) {
    const double y = top + cell * static_cast<double>(i), middle = y + cell / 2;
    const double across = left + cell * (static_cast<double>(i) + 0.5);
    sheet.text(left - 10, middle, fitted(sheet, classes[i], label_size, names - 14), label_size, ink,
               Align::right);
    sheet.text(across, top - 14, fitted(sheet, classes[i], label_size, cell - 4), label_size, ink,
               Align::centre);
    double total = 0;
    for (const std::int64_t n : confusion[i]) total += static_cast<double>(n);
    for (std::size_t j = 0; j < count; ++j) {
      const double share = total > 0 ? static_cast<double>(confusion[i].at(j)) / total : 0;
      const double x = left + cell * static_cast<double>(j);
      const auto mix = [&](double low, double high) { return low + (high - low) * share; };
      sheet.fill(x, y, cell - 2, cell - 2, {mix(0.94, blue.r), mix(0.95, blue.g), mix(0.97, blue.b)});
      const Colour on = share > 0.5 ? white : ink;
      const bool roomy = cell >= 48;
      sheet.text(x + cell / 2 - 1, middle - (roomy ? size * 0.55 : 0), fmt::format("{}", confusion[i][j]),
                 size, on, Align::centre, i == j);
      if (roomy)
        sheet.text(x + cell / 2 - 1, middle + size * 0.75, fmt::format("{:.0f} %", 100 * share), size * 0.72,
                   share > 0.5 ? white : soft, Align::centre);
    }
  }
  sheet.save(path);
}

}  // namespace fovea
