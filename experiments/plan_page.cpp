// See plan_page.hpp. The x axis of both charts counts events: an allocation, a release, a kernel that takes the workspace.
#include "plan_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "eval/html.hpp"
#include "eval/svg.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {
namespace {

constexpr double width = 900, left = 70, right = 10;
constexpr const char* full_width = "max-width:none";
constexpr double mib = 1 << 20;
constexpr std::size_t most_points = 1200, shown_of_a_kind = 6;

// Hues of the page's style, and for the last kinds the same ones paler: they are rarely large.
const char* colour_of(std::size_t kind) {
  constexpr std::array<const char*, memory_kinds> colours{"fill:var(--s0)",
                                                          "fill:var(--s3)",
                                                          "fill:var(--s2)",
                                                          "fill:var(--s6)",
                                                          "fill:var(--s1)",
                                                          "fill:var(--s4)",
                                                          "fill:var(--s7)",
                                                          "fill:var(--s5)",
                                                          "fill:var(--s5);opacity:.55",
                                                          "fill:var(--s6);opacity:.55"};
  return colours[kind];
}

struct Scale {
  double events, most, height, top = 24, from = left;
  double x(std::size_t event) const {
    return from + (width - right - from) * static_cast<double>(event) / events;
  }
  double y(double bytes) const { return top + height * (1 - bytes / most); }
};

/// Of many events in one place the one with the most bytes is drawn, so that no peak is lost.
std::vector<std::size_t> drawn_events(const MemoryReplay& replay) {
  const auto sum = [&](std::size_t i) {
    std::int64_t bytes = 0;
    for (const std::int64_t b : replay.in_use[i]) bytes += b;
    return bytes;
  };
  std::vector<std::size_t> drawn;
  const std::size_t count = replay.in_use.size(), points = std::min(count, most_points);
  for (std::size_t p = 0; p < points; ++p) {
    std::size_t best = p * count / points;
    for (std::size_t i = best; i < (p + 1) * count / points; ++i) {
      if (sum(i) > sum(best)) best = i;
    }
    drawn.push_back(best);
  }
  return drawn;
}

std::string layer(const MemoryReplay& replay, const Scale& scale, const std::vector<std::size_t>& drawn,
                  std::size_t kind) {
  std::vector<double> low, high;
  for (const std::size_t i : drawn) {
    double below = 0;
    for (std::size_t k = 0; k < kind; ++k) below += static_cast<double>(replay.in_use[i][k]);
    low.push_back(scale.y(below));
    high.push_back(scale.y(below + static_cast<double>(replay.in_use[i][kind])));
  }
  std::string path = fmt::format("M{:.1f} {:.1f}", scale.x(0), high[0]);
  for (std::size_t p = 0; p < drawn.size(); ++p) {
    const std::size_t next = p + 1 < drawn.size() ? drawn[p + 1] : replay.in_use.size();
    path += fmt::format("V{:.1f}H{:.1f}", high[p], scale.x(next));
  }
  for (std::size_t p = drawn.size(); p-- > 0;)
    path += fmt::format("V{:.1f}H{:.1f}", low[p], p == 0 ? scale.x(0) : scale.x(drawn[p]));
  return fmt::format("<path style=\"{}\" d=\"{}z\"><title>{}</title></path>\n", colour_of(kind), path,
                     name_of(static_cast<MemoryKind>(kind)));
}

std::string phases(const MemoryReplay& replay, const Scale& scale, double bottom) {
  std::string out;
  for (std::size_t i = 0; i < replay.phases.size();) {
    std::size_t end = i;
    while (end < replay.phases.size() && replay.phases[end] == replay.phases[i]) ++end;
    out += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>\n", scale.x(i), scale.top, bottom);
    if (scale.x(end) - scale.x(i) > 50)
      out += svg_text((scale.x(i) + scale.x(end)) / 2, bottom + 16, "middle", name_of(replay.phases[i]));
    i = end;
  }
  return out;
}

std::string bytes_chart(const MemoryReplay& replay, std::int64_t budget) {
  const double peak = static_cast<double>(replay.peak),
               most = 1.08 * std::max(peak, budget < 4 * replay.peak ? static_cast<double>(budget) : 0.0);
  const Scale scale{static_cast<double>(replay.in_use.size()), most, 300};
  const double bottom = scale.top + scale.height;
  const std::vector<std::size_t> drawn = drawn_events(replay);
  std::string out = phases(replay, scale, bottom);
  for (int tick = 0; tick <= 4; ++tick) {
    const double bytes = most * tick / 4;
    out += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left, scale.y(bytes),
                       width - right);
    out += svg_text(left - 6, scale.y(bytes) + 4, "end", fmt::format("{:.0f}", bytes / mib));
  }
  for (std::size_t k = 0; k < memory_kinds; ++k) {
    const bool any =
        std::any_of(replay.in_use.begin(), replay.in_use.end(), [&](const auto& at) { return at[k] > 0; });
    if (any) out += layer(replay, scale, drawn, k);
  }
  out += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>\n", scale.x(replay.peak_at),
                     scale.top, bottom);
  const bool late = scale.x(replay.peak_at) > width / 2;
  out += svg_text(scale.x(replay.peak_at) + (late ? -5 : 5), scale.top + 2, late ? "end" : "start",
                  "peak " + bytes_text(replay.peak));
  if (budget > 0 && static_cast<double>(budget) < most) {
    out += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left,
                       scale.y(static_cast<double>(budget)), width - right);
    out +=
        svg_text(left + 4, scale.y(static_cast<double>(budget)) - 4, "start", "budget " + bytes_text(budget));
  }
  out += svg_text(0, 12, "start", "MiB");
  return svg_image(width, bottom + 24, "bytes in use over the allocations of a step", out, full_width);
}

std::string legend(const MemoryReplay& replay) {
  std::string out = "<ul class=\"legend\">";
  for (std::size_t k = 0; k < memory_kinds; ++k) {
    const std::int64_t at_peak = replay.in_use[replay.peak_at][k];
    const bool any =
        std::any_of(replay.in_use.begin(), replay.in_use.end(), [&](const auto& at) { return at[k] > 0; });
    if (!any) continue;
    out += fmt::format(
        "<li><svg viewBox=\"0 0 28 12\"><path style=\"{}\" d=\"M0 0h28v12h-28z\"/></svg>{} ({} at the "
        "peak)</li>",
        colour_of(k), name_of(static_cast<MemoryKind>(k)), bytes_text(at_peak));
  }
  return out + "</ul>\n";
}

/// The largest of each kind, so that parameters leave room for the others.
std::vector<std::size_t> largest_of_each_kind(const MemoryReplay& replay) {
  std::vector<std::size_t> all, shown;
  for (std::size_t i = 0; i < replay.tensors.size(); ++i) all.push_back(i);
  std::stable_sort(all.begin(), all.end(), [&](std::size_t a, std::size_t b) {
    return replay.tensors[a].bytes > replay.tensors[b].bytes;
  });
  std::array<std::size_t, memory_kinds> taken{};
  for (const std::size_t i : all) {
    if (taken[static_cast<std::size_t>(replay.tensors[i].kind)]++ < shown_of_a_kind) shown.push_back(i);
  }
  return shown;
}

std::string lifetimes(const MemoryReplay& replay) {
  constexpr double row = 16, labels = 420;
  const std::vector<std::size_t> shown = largest_of_each_kind(replay);
  const double height = row * static_cast<double>(shown.size());
  Scale scale{static_cast<double>(replay.in_use.size()), 1, height};
  scale.from = labels;
  std::string out = phases(replay, scale, scale.top + height);
  for (std::size_t r = 0; r < shown.size(); ++r) {
    const LoggedTensor& t = replay.tensors[shown[r]];
    const double y = scale.top + row * static_cast<double>(r), from = scale.x(replay.from[shown[r]]),
                 until = scale.x(std::min(replay.until[shown[r]], replay.in_use.size()));
    out += fmt::format(
        "<path style=\"{}\" d=\"M{:.1f} {:.1f}H{:.1f}V{:.1f}H{:.1f}z\"><title>{}, {}</title></path>\n",
        colour_of(static_cast<std::size_t>(t.kind)), from, y + 3, std::max(until, from + 1), y + row - 2,
        from, name_of(t.kind), bytes_text(t.bytes));
    out += svg_text(left - 6, y + row - 4, "end", bytes_text(t.bytes));
    out += svg_text(left, y + row - 4, "start",
                    fmt::format("{} {}, {}", to_string(t.shape), name_of(t.dtype), words_of(t)));
  }
  out += fmt::format("<path class=\"guide\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>\n", scale.x(replay.peak_at),
                     scale.top, scale.top + height);
  return svg_image(width, scale.top + height + 24, "the largest tensors of each kind and when they live", out,
                   full_width);
}

}  // namespace

std::string plan_page(const std::string& title, const MemoryPlan& plan, const MemoryReplay& replay,
                      std::int64_t budget, std::span<const std::string> notes) {
  std::vector<std::pair<std::string, std::string>> facts{
      {"peak",
       fmt::format("{}, in the {} phase", bytes_text(replay.peak), name_of(replay.phases[replay.peak_at]))},
      {"read from", plan.basis()}};
  if (replay.workspace > 0)
    facts.emplace_back("workspace",
                       fmt::format("{}, for {}", bytes_text(replay.workspace), replay.workspace_by));
  if (budget > 0) {
    facts.emplace_back("budget", bytes_text(budget));
    facts.emplace_back("largest batch within it", fmt::format("{}", plan.largest_batch(budget)));
  }
  std::string body = facts_html(facts);
  body += "<h2>Bytes over the allocations of a step</h2>\n" + bytes_chart(replay, budget) + legend(replay);
  body += "<h2>The largest tensors of each kind</h2>\n" + lifetimes(replay);
  return page_html(title, body + notes_html(notes));
}

}  // namespace fovea
