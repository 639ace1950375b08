// Pictures of a run. Colours: Okabe & Ito's blue, vermilion and green, apart for colour-blind readers too;
// the lines differ in dash as well.
#include "eval/plots.hpp"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

#ifdef __SANITIZE_ADDRESS__
// fontconfig, which finds the letters for cairo, keeps its patterns by offset instead of by pointer, so that
// the leak checker takes what is cached for lost.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig"; }
extern "C" const char* __lsan_default_options();
extern "C" const char* __lsan_default_options() { return "print_suppressions=0"; }
#endif

namespace fovea {
namespace {

constexpr double resolution = 2;

struct Colour {
  double r, g, b;
};
constexpr Colour ink{0.13, 0.15, 0.18}, soft{0.42, 0.45, 0.50}, grid{0.90, 0.91, 0.93}, white{1, 1, 1};
constexpr Colour blue{0.0, 0.447, 0.698}, vermilion{0.835, 0.369, 0.0}, green{0.0, 0.55, 0.40};

enum class Align { left, centre, right };

/// A white sheet in points; what cairo refuses turns up in save().
class Sheet {
 public:
  Sheet(double width, double height)
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width * resolution),
                                            static_cast<int>(height * resolution)),
                 cairo_surface_destroy),
        cairo_(cairo_create(surface_.get()), cairo_destroy) {
    cairo_scale(cairo_.get(), resolution, resolution);
    fill(0, 0, width, height, white);
    cairo_set_line_join(cairo_.get(), CAIRO_LINE_JOIN_ROUND);
  }

  void fill(double x, double y, double width, double height, Colour colour) {
    use(colour);
    cairo_rectangle(cairo_.get(), x, y, width, height);
    cairo_fill(cairo_.get());
  }

  void line(double x0, double y0, double x1, double y1, Colour colour, double width = 1) {
    use(colour);
    cairo_set_line_width(cairo_.get(), width);
    cairo_move_to(cairo_.get(), x0, y0);
    cairo_line_to(cairo_.get(), x1, y1);
    cairo_stroke(cairo_.get());
  }

  /// A polyline with gaps where y is not finite; a point without neighbours becomes a dot.
  void curve(const std::vector<double>& xs, const std::vector<double>& ys, Colour colour,
             std::vector<double> dash) {
    use(colour);
    cairo_set_line_width(cairo_.get(), 1.8);
    cairo_set_dash(cairo_.get(), dash.data(), static_cast<int>(dash.size()), 0);
    const auto drawn = [&](std::size_t i) { return i < ys.size() && std::isfinite(ys[i]); };
    for (std::size_t i = 0; i < ys.size(); ++i) {
      if (!drawn(i)) continue;
      const bool begins = i == 0 || !drawn(i - 1);
      begins ? cairo_move_to(cairo_.get(), xs[i], ys[i]) : cairo_line_to(cairo_.get(), xs[i], ys[i]);
      if (!drawn(i + 1)) {
        cairo_stroke(cairo_.get());
        if (begins) dot(xs[i], ys[i]);
      }
    }
    cairo_set_dash(cairo_.get(), nullptr, 0, 0);
  }

  /// `y` is the middle of the letters' height.
  void text(double x, double y, const std::string& words, double size, Colour colour,
            Align align = Align::left, bool bold = false) {
    use(colour);
    font(size, bold);
    cairo_text_extents_t box;
    cairo_text_extents(cairo_.get(), words.c_str(), &box);
    const double shift = align == Align::left     ? 0
                         : align == Align::centre ? box.x_advance / 2
                                                  : box.x_advance;
    cairo_move_to(cairo_.get(), x - shift, y + 0.36 * size);
    cairo_show_text(cairo_.get(), words.c_str());
  }

  void upright_text(double x, double y, const std::string& words, double size, Colour colour,
                    bool downward = false) {
    cairo_save(cairo_.get());
    cairo_translate(cairo_.get(), x, y);
    cairo_rotate(cairo_.get(), downward ? M_PI / 2 : -M_PI / 2);
    text(0, 0, words, size, colour, Align::centre);
    cairo_restore(cairo_.get());
  }

  double width_of(const std::string& words, double size) {
    font(size, false);
    cairo_text_extents_t box;
    cairo_text_extents(cairo_.get(), words.c_str(), &box);
    return box.x_advance;
  }

  void save(const std::string& path) {
    std::string bytes;
    const auto append = [](void* to, const unsigned char* data, unsigned int size) {
      static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data), size);
      return CAIRO_STATUS_SUCCESS;
    };
    cairo_status_t status = cairo_status(cairo_.get());
    if (status == CAIRO_STATUS_SUCCESS)
      status = cairo_surface_write_to_png_stream(surface_.get(), append, &bytes);
    if (status != CAIRO_STATUS_SUCCESS)
      fail(fmt::format("cannot draw {}: {}", path, cairo_status_to_string(status)));
    write_file_atomically(path, bytes);
  }

 private:
  void use(Colour colour) { cairo_set_source_rgb(cairo_.get(), colour.r, colour.g, colour.b); }

  void dot(double x, double y) {
    cairo_arc(cairo_.get(), x, y, 2.5, 0, 2 * M_PI);
    cairo_fill(cairo_.get());
  }

  void font(double size, bool bold) {
    cairo_select_font_face(cairo_.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo_.get(), size);
  }

  std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface_;
  std::unique_ptr<cairo_t, decltype(&cairo_destroy)> cairo_;
};

/// cairo stops at text that is not UTF-8 and draws nothing after it; other bytes become '?'.
std::string drawable(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    bool whole = length > 0 && i + length <= text.size() && lead >= 0x20 && lead != 0x7f;
    for (std::size_t j = 1; whole && j < length; ++j) whole = (text[i + j] & 0xc0) == 0x80;
    // Overlong forms, surrogates and code points past the last one.
    const auto second = whole && length > 2 ? static_cast<unsigned char>(text[i + 1]) : 0xa0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0 && length > 2) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90)) {
      whole = false;
    }
    result += whole ? text.substr(i, length) : "?";
    i += whole ? length : 1;
  }
  return result;
}

/// As many letters of the text as fit, with an ellipsis.
std::string fitted(Sheet& sheet, std::string text, double size, double width) {
  text = drawable(text);
  if (sheet.width_of(text, size) <= width) return text;
  while (!text.empty() && sheet.width_of(text + "\xe2\x80\xa6", size) > width) {
    while (!text.empty() && (text.back() & 0xc0) == 0x80) text.pop_back();
    if (!text.empty()) text.pop_back();
  }
  return text + "\xe2\x80\xa6";
}

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
