// See profile_charts.hpp. On the time line bars of a lane that would be too narrow to see are merged until they are wide
// enough, so that a step of a thousand kernels is a few hundred bars.
#include "eval/profile_charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string_view>
#include <vector>

#include "eval/html.hpp"

namespace fovea {
namespace {

constexpr int styles = 8;

std::string svg(double width, double height, const std::string& label, const std::string& content,
                const char* style = "") {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"{}>\n{}</svg>\n", width,
                     height, escaped(label), style, content);
}

std::string text_at(double x, double y, const char* anchor, const std::string& words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     escaped(words));
}

// ---- roofline -----------------------------------------------------------------------------------

/// Logarithmic on both axes; values are clamped to the ends.
struct LogFrame {
  double left = 46, right = 472, top = 26, bottom = 280;
  double x_low, x_high, y_low, y_high;  // powers of ten
  static double at(double value, double low, double high) {
    return (std::clamp(std::log10(value), low, high) - low) / (high - low);
  }
  double x(double v) const { return left + (right - left) * at(v, x_low, x_high); }
  double y(double v) const { return bottom + (top - bottom) * at(v, y_low, y_high); }
};

std::vector<const ProfileRow*> dotted(std::span<const ProfileRow> rows) {
  std::vector<const ProfileRow*> found;
  for (const ProfileRow& row : rows)
    if (row.flops > 0 && row.bytes > 0 && row.self_seconds > 0) found.push_back(&row);
  return found;
}

LogFrame frame_of(const std::vector<const ProfileRow*>& rows, double highest) {
  double low_x = 1, high_x = 1, low_y = highest;
  for (const ProfileRow* row : rows) {
    low_x = std::min(low_x, row->flops / row->bytes);
    high_x = std::max(high_x, row->flops / row->bytes);
    low_y = std::min(low_y, row->flops_per_s());
  }
  LogFrame frame;
  frame.x_low = std::max(-4.0, std::floor(std::log10(low_x)));
  frame.x_high = std::ceil(std::log10(high_x) + 0.2);
  frame.y_high = std::ceil(std::log10(highest) + 0.1);
  frame.y_low = std::max(frame.y_high - 7, std::floor(std::log10(low_y)));
  return frame;
}

std::string power_text(double power) {
  return power >= -3 && power <= 5 ? fmt::format("{:.6g}", std::pow(10, power))
                                   : fmt::format("1e{:.0f}", power);
}

std::string log_axes(const LogFrame& frame) {
  std::string out;
  for (double power = frame.y_low; power <= frame.y_high; ++power) {
    const double y = frame.y(std::pow(10, power));
    out += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, y, frame.right);
    out += text_at(frame.left - 6, y + 4, "end", power_text(power - 9));
  }
  for (double power = frame.x_low; power <= frame.x_high; ++power)
    out += text_at(frame.x(std::pow(10, power)), frame.bottom + 16, "middle", power_text(power));
  out += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, frame.bottom,
                     frame.right);
  out += text_at((frame.left + frame.right) / 2, frame.bottom + 32, "middle", "FLOP per byte of traffic");
  return out + text_at(0, frame.top - 12, "start", "GFLOP/s");
}

// From the left edge up the slope of the copy, then along the ceiling.
std::string roof(const LogFrame& frame, double copy, const Peaks::Gemm& gemm, int style) {
  const double edge = std::pow(10, frame.x_low), lowest = std::pow(10, frame.y_low);
  const double from = std::max(edge, lowest / copy), knee = gemm.flops / copy;
  std::string path;
  if (knee > from) {
    path = fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}", frame.x(from), frame.y(from * copy), frame.x(knee),
                       frame.y(gemm.flops));
  } else {
    path = fmt::format("M{:.1f} {:.1f}", frame.left, frame.y(gemm.flops));
  }
  return fmt::format("<path class=\"line s{}\" d=\"{}H{:.1f}\"/>\n", style % styles, path, frame.right) +
         text_at(frame.right, frame.y(gemm.flops) - 5, "end",
                 fmt::format("{} {:.0f} GFLOP/s", name_of(gemm.dtype), gemm.flops * 1e-9));
}

std::string dot(const LogFrame& frame, const ProfileRow& row, double share, int number) {
  const double intensity = row.flops / row.bytes, radius = 3 + 17 * std::sqrt(share);
  const double x = frame.x(intensity), y = frame.y(row.flops_per_s());
  std::string out = fmt::format(
      "<circle class=\"s0\" style=\"fill:var(--s0);fill-opacity:.25\" cx=\"{:.1f}\" cy=\"{:.1f}\" "
      "r=\"{:.1f}\"><title>{}, {}: {:.3g} ms, {:.1f} GFLOP/s at {:.3g} FLOP/byte, {:.0f} % of its "
      "floor</title></circle>\n",
      x, y, radius, escaped(row.name), escaped(row.kernel), row.self_seconds * 1e3, row.flops_per_s() * 1e-9,
      intensity, 100 * row.floor_share());
  if (number > 0) {
    out += fmt::format(
        "<text class=\"name\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\" "
        "style=\"paint-order:stroke;stroke:var(--page);stroke-width:2px\">{}</text>\n",
        x, y + 4, number);
  }
  return out;
}

std::string numbered_list(const std::vector<const ProfileRow*>& rows, std::size_t numbered) {
  std::string items;
  for (std::size_t i = 0; i < std::min(numbered, rows.size()); ++i)
    items += fmt::format("<li>{} {}, {}</li>\n", i + 1, escaped(rows[i]->name), escaped(rows[i]->kernel));
  return "<ul class=\"legend\">\n" + items + "</ul>\n";
}

// ---- time line ----------------------------------------------------------------------------------

struct Bar {
  double begin = 0, end = 0;  // seconds from the beginning of the step
  std::string name, title;
  int merged = 1;
};

using Lane = std::vector<Bar>;

constexpr double line_left = 0, line_right = 960, lane_height = 30, bar_height = 24;

int style_for(std::string_view name) {
  return static_cast<int>(std::hash<std::string_view>{}(name.substr(0, name.find('.'))) % styles);
}

std::string milliseconds(double seconds) { return fmt::format("{:.3g} ms", seconds * 1e3); }

Lane merged(Lane lane, double least) {
  std::sort(lane.begin(), lane.end(), [](const Bar& a, const Bar& b) { return a.begin < b.begin; });
  Lane out;
  for (Bar& bar : lane) {
    const bool joins = !out.empty() && bar.end - bar.begin < least &&
                       out.back().end - out.back().begin < least && bar.begin - out.back().end < least;
    if (!joins) {
      out.push_back(std::move(bar));
      continue;
    }
    out.back().end = std::max(out.back().end, bar.end);
    ++out.back().merged;
  }
  return out;
}

std::string draw(const Bar& bar, double total, double y, int style) {
  const auto x = [&](double seconds) { return line_left + (line_right - line_left) * seconds / total; };
  const double width = std::max(0.3, x(bar.end) - x(bar.begin));
  const std::string more = bar.merged > 1 ? fmt::format(" and {} more", bar.merged - 1) : "";
  std::string out = fmt::format(
      "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{}\" "
      "style=\"fill:var(--s{});fill-opacity:.45;stroke:var(--page);stroke-width:.4\"><title>{}{}: "
      "{}</title></rect>\n",
      x(bar.begin), y, width, bar_height, style, escaped(bar.title), more, milliseconds(bar.end - bar.begin));
  if (static_cast<double>(bar.name.size()) * 6.4 + 6 < width) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:var(--ink)\">{}</text>\n",
                       x(bar.begin) + 3, y + 16, escaped(bar.name));
  }
  return out;
}

struct Lanes {
  Lane parts, layers, kernels;
  double seconds = 0;
};

Lanes lanes_of(const Profile& profile, int step) {
  double origin = 0;
  for (const ProfileEvent& event : profile.events())
    if (event.step == step && event.primitive == nullptr && event.kind == RangeKind::step)
      origin = event.begin_s;
  Lanes lanes;
  for (const ProfileEvent& event : profile.events()) {
    if (event.step != step) continue;
    const double begin = event.begin_s - origin, end = begin + event.seconds;
    if (event.primitive != nullptr) {
      if (event.called_by_kernel) continue;
      const std::string where = *event.name == '\0' ? "" : fmt::format(" of {}", event.name);
      lanes.kernels.push_back({begin, end, event.primitive->name,
                               fmt::format("{} '{}'{}", event.primitive->name, event.kernel->name, where)});
    } else if (event.kind == RangeKind::step) {
      lanes.seconds = event.seconds;
    } else {
      (event.kind == RangeKind::layer ? lanes.layers : lanes.parts)
          .push_back({begin, end, event.name, event.name});
    }
  }
  return lanes;
}

}  // namespace

std::string roofline_chart(std::span<const ProfileRow> rows, const Peaks& peaks) {
  constexpr std::size_t numbered = 8;
  const std::vector<const ProfileRow*> dots = dotted(rows);
  if (dots.empty()) return {};
  std::set<std::string> types;
  double total = 0, highest = 0;
  for (const ProfileRow* row : dots) {
    total += row->self_seconds;
    highest = std::max(highest, row->flops_per_s());
    types.insert(row->dtype);
  }
  std::vector<Peaks::Gemm> roofs;
  for (const Peaks::Gemm& gemm : peaks.gemms) {
    const bool used = std::any_of(types.begin(), types.end(), [&](const std::string& type) {
      return type.find(name_of(gemm.dtype)) != std::string::npos;
    });
    if (used) roofs.push_back(gemm);
  }
  for (const Peaks::Gemm& gemm : roofs) highest = std::max(highest, gemm.flops);
  const LogFrame frame = frame_of(dots, highest);
  std::string out = log_axes(frame);
  for (std::size_t i = 0; i < roofs.size(); ++i)
    out += roof(frame, peaks.copy_bytes_per_s, roofs[i], static_cast<int>(i) + 1);
  for (std::size_t i = dots.size(); i-- > 0;)  // the longest are drawn last
    out += dot(frame, *dots[i], dots[i]->self_seconds / total, i < numbered ? static_cast<int>(i) + 1 : 0);
  return "<figure>" +
         svg(480, 318,
             fmt::format("Roofline of the kernels under a copy of {:.1f} GB/s",
                         peaks.copy_bytes_per_s * 1e-9),
             out) +
         numbered_list(dots, numbered) + "</figure>\n";
}

std::string time_line(const Profile& profile, int step) {
  const Lanes lanes = lanes_of(profile, step);
  if (lanes.seconds <= 0) return {};
  const double least = lanes.seconds / ((line_right - line_left) * 3);
  std::string out;
  double y = 0;
  for (const auto& [title, lane] : {std::pair<const char*, const Lane*>{"parts", &lanes.parts},
                                    {"layers", &lanes.layers},
                                    {"kernels", &lanes.kernels}}) {
    out += text_at(0, y + 12, "start", title);
    for (const Bar& bar : merged(*lane, least)) out += draw(bar, lanes.seconds, y + 17, style_for(bar.name));
    y += lane_height + 18;
  }
  out += fmt::format("<path class=\"axis\" d=\"M0 {:.1f}H{}\"/>\n", y, line_right);
  for (int i = 0; i <= 4; ++i)
    out += text_at(line_right * i / 4, y + 15,
                   i == 0   ? "start"
                   : i == 4 ? "end"
                            : "middle",
                   milliseconds(lanes.seconds * i / 4));
  return "<div class=\"wide\">" +
         svg(line_right, y + 20,
             fmt::format("Time line of a step of {}: its parts, layers and kernels",
                         milliseconds(lanes.seconds)),
             out, " style=\"max-width:none;min-width:44rem\"") +
         "</div>\n";
}

}  // namespace fovea
