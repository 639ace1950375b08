// See profile_charts.hpp. On the time line bars of a lane that would be too narrow to see are merged until they are wide
// enough, so that a step of a thousand kernels is a few hundred bars.
#include "eval/profile_charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "eval/html.hpp"
#include "eval/svg.hpp"

namespace fovea {
namespace {

constexpr int styles = 8;

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
    out += svg_text(frame.left - 6, y + 4, "end", power_text(power - 9));
  }
  for (double power = frame.x_low; power <= frame.x_high; ++power)
    out += svg_text(frame.x(std::pow(10, power)), frame.bottom + 16, "middle", power_text(power));
  out += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", frame.left, frame.bottom,
                     frame.right);
  out += svg_text((frame.left + frame.right) / 2, frame.bottom + 32, "middle", "FLOP per byte of traffic");
  return out + svg_text(0, frame.top - 12, "start", "GFLOP/s");
}

// Of the types in which at least a thousandth of the operations is done.
std::vector<Peaks::Gemm> roofs_of(const std::vector<const ProfileRow*>& rows, const Peaks& peaks,
                                  double flops) {
  std::vector<Peaks::Gemm> roofs;
  for (const Peaks::Gemm& gemm : peaks.gemms) {
    double of_type = 0;
    for (const ProfileRow* row : rows)
      if (row->dtype.find(name_of(gemm.dtype)) != std::string::npos) of_type += row->flops;
    if (of_type >= 1e-3 * flops) roofs.push_back(gemm);
  }
  return roofs;
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
         svg_text(frame.right, frame.y(gemm.flops) + (style == 1 ? -5 : 13), "end",
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

constexpr double line_left = 0, line_right = 960, bar_height = 24;

int style_for(std::string_view name) {
  return static_cast<int>(std::hash<std::string_view>{}(name) % static_cast<std::size_t>(styles));
}

std::string time_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.3g} s", seconds);
  return seconds >= 1e-3 || seconds == 0 ? fmt::format("{:.3g} ms", seconds * 1e3)
                                         : fmt::format("{:.3g} us", seconds * 1e6);
}

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
      x(bar.begin), y, width, bar_height, style, escaped(bar.title), more, time_text(bar.end - bar.begin));
  if (static_cast<double>(bar.name.size()) * 6.4 + 6 < width) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:var(--ink)\">{}</text>\n",
                       x(bar.begin) + 3, y + 16, escaped(bar.name));
  }
  return out;
}

struct Lanes {
  Lane parts, kernels;
  std::map<int, Lane> layers;  // by depth: a layer stands under the one that it is in
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
      Lane& lane = event.kind == RangeKind::layer ? lanes.layers[event.depth] : lanes.parts;
      lane.push_back({begin, end, event.name, event.name});
    }
  }
  return lanes;
}

}  // namespace

std::string roofline_chart(std::span<const ProfileRow> rows, const Peaks& peaks) {
  constexpr std::size_t numbered = 8;
  const std::vector<const ProfileRow*> dots = dotted(rows);
  if (dots.empty()) return {};
  double total = 0, flops = 0, highest = 0;
  for (const ProfileRow* row : dots) {
    total += row->self_seconds;
    flops += row->flops;
    highest = std::max(highest, row->flops_per_s());
  }
  const std::vector<Peaks::Gemm> roofs = roofs_of(dots, peaks, flops);
  for (const Peaks::Gemm& gemm : roofs) highest = std::max(highest, gemm.flops);
  const LogFrame frame = frame_of(dots, highest);
  std::string out = log_axes(frame);
  for (std::size_t i = 0; i < roofs.size(); ++i)
    out += roof(frame, peaks.copy_bytes_per_s, roofs[i], static_cast<int>(i) + 1);
  for (std::size_t i = dots.size(); i-- > 0;)  // the longest are drawn last
    out += dot(frame, *dots[i], dots[i]->self_seconds / total, i < numbered ? static_cast<int>(i) + 1 : 0);
  return "<figure>" +
         svg_image(480, 318,
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
  const auto draw_lane = [&](const char* title, const Lane& lane, bool by_op) {
    if (*title != '\0') {
      out += svg_text(0, y + 12, "start", title);
      y += 17;
    }
    for (const Bar& bar : merged(lane, least)) {
      const std::string_view name = bar.name;
      out += draw(bar, lanes.seconds, y, style_for(by_op ? name.substr(0, name.find('.')) : name));
    }
    y += bar_height + 2;
  };
  draw_lane("parts", lanes.parts, false);
  for (const auto& [depth, lane] : lanes.layers)
    draw_lane(depth == lanes.layers.begin()->first ? "layers" : "", lane, false);
  draw_lane("kernels", lanes.kernels, true);
  y += 4;
  out += fmt::format("<path class=\"axis\" d=\"M0 {:.1f}H{}\"/>\n", y, line_right);
  for (int i = 0; i <= 4; ++i)
    out += svg_text(line_right * i / 4, y + 15,
                    i == 0   ? "start"
                    : i == 4 ? "end"
                             : "middle",
                    time_text(lanes.seconds * i / 4));
  return "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"time line\">" +
         svg_image(line_right, y + 20,
                   fmt::format("Time line of a step of {}: its parts, layers and kernels",
                               time_text(lanes.seconds)),
                   out, "max-width:none;min-width:44rem") +
         "</div>\n";
}

}  // namespace fovea
