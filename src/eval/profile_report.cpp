// See profile_report.hpp.
#include "eval/profile_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "eval/html.hpp"
#include "eval/profile_charts.hpp"
#include "eval/table_text.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {
namespace {

using nlohmann::ordered_json;

std::vector<ProfileRow> rows_of(const ProfileView& view) { return view.profile.rows(view.by, view.peaks); }

std::string cell(const char* format, double value, bool there) {
  return there ? fmt::format(fmt::runtime(format), value) : "";
}

std::vector<std::string> cells_of(const ProfileRow& row, const ProfileView& view) {
  const bool kernel = row.is_kernel();
  std::vector<std::string> cells{row.name, row.kernel};
  if (view.by == ProfileBy::layer) cells.push_back(row.layer);
  if (view.by == ProfileBy::shape) cells.push_back(row.shape);
  const std::vector<std::string> numbers{
      cell("{:.4g}", row.calls, kernel),
      fmt::format("{:.3f}", row.self_seconds * 1e3),
      fmt::format("{:.1f}", 100 * row.self_seconds / view.profile.step_seconds()),
      cell("{:.3f}", row.flops * 1e-9, kernel),
      cell("{:.1f}", row.bytes * 1e-6, kernel),
      cell("{:.1f}", row.flops_per_s() * 1e-9, kernel),
      cell("{:.1f}", row.bytes_per_s() * 1e-9, kernel),
      cell("{:.0f}", 100 * row.floor_share(), kernel)};
  cells.insert(cells.end(), numbers.begin(), numbers.end());
  return cells;
}

constexpr std::size_t number_columns = 8;  // the last ones

std::vector<std::string> titles_of(ProfileBy by) {
  std::vector<std::string> titles{"op", "kernel"};
  if (by == ProfileBy::layer) titles.emplace_back("layer");
  if (by == ProfileBy::shape) titles.emplace_back("shape");
  for (const char* const title :
       {"calls", "self ms", "% of step", "GFLOP", "MB", "GFLOP/s", "GB/s", "% of floor"})
    titles.emplace_back(title);
  return titles;
}

// What no longer fits into a table, as one row of it.
ProfileRow sum_of(std::span<const ProfileRow> rows) {
  ProfileRow sum;
  sum.name = fmt::format("({} more)", rows.size());
  sum.kernel = "-";
  for (const ProfileRow& row : rows) {
    sum.calls += row.calls;
    sum.self_seconds += row.self_seconds;
    sum.flops += row.flops;
    sum.bytes += row.bytes;
    sum.floor_seconds += row.floor_seconds;
  }
  return sum;
}

std::vector<ProfileRow> shortened(std::vector<ProfileRow> rows, std::size_t most) {
  if (rows.size() <= most + 1) return rows;
  const ProfileRow rest = sum_of(std::span(rows).subspan(most));
  rows.resize(most);
  rows.push_back(rest);
  return rows;
}

std::string parts_text(const Profile& profile) {
  std::string text;
  for (const auto& [kind, name] : {std::pair{RangeKind::data, "data"},
                                   {RangeKind::forward, "forward"},
                                   {RangeKind::backward, "backward"},
                                   {RangeKind::optimizer, "optimizer"}}) {
    const double seconds = profile.seconds_in(kind);
    if (seconds > 0) text += fmt::format("{}{} {:.3f} ms", text.empty() ? "" : ", ", name, seconds * 1e3);
  }
  return text;
}

std::string ceilings_text(const Peaks& peaks) {
  std::string text = fmt::format("{:.1f} GB/s copy, {:.1f} GB/s triad", peaks.copy_bytes_per_s * 1e-9,
                                 peaks.triad_bytes_per_s * 1e-9);
  for (const Peaks::Gemm& gemm : peaks.gemms)
    text += fmt::format(", {:.0f} GFLOP/s {}", gemm.flops * 1e-9, name_of(gemm.dtype));
  return text;
}

std::vector<std::pair<std::string, std::string>> facts_of(const ProfileView& view) {
  const ProfileFacts& f = view.facts;
  const Profile& p = view.profile;
  const auto [least, most] = std::minmax_element(p.each_step().begin(), p.each_step().end());
  return {{"Profiled", fmt::format("{}, {} of {} at {} x {} in {} on {}, {} threads", f.model, f.mode,
                                   f.batch, f.height, f.width, f.dtype, f.device, f.threads)},
          {"Step", fmt::format("{:.3f} ms, mean of {} after {} warm-up steps ({:.3f} to {:.3f})",
                               p.step_seconds() * 1e3, p.steps(), f.warm_up, *least * 1e3, *most * 1e3)},
          {"Parts", parts_text(p)},
          {"Operations",
           fmt::format("{:.3f} GFLOP a step, {:.1f} GFLOP/s: {:.1f} % of the {} ceiling", p.flops() * 1e-9,
                       p.flops() / p.step_seconds() * 1e-9, 100 * utilisation(view), name_of(view.dtype))},
          {"Memory", fmt::format("{} of tensors at most", bytes_text(f.memory_peak))},
          {"Ceilings", ceilings_text(view.peaks)}};
}

ordered_json op_json(const ProfileRow& row, ProfileBy by) {
  ordered_json op{{"name", row.name},
                  {"kernel", row.kernel},
                  {"calls", row.calls},
                  {"self_seconds", row.self_seconds},
                  {"flops", row.flops},
                  {"bytes", row.bytes},
                  {"floor_seconds", row.floor_seconds},
                  {"floor_share", row.floor_share()},
                  {"dtype", row.dtype}};
  if (by == ProfileBy::layer) op["layer"] = row.layer;
  if (by == ProfileBy::shape) op["shape"] = row.shape;
  return op;
}

std::string table_html(const ProfileView& view) {
  const auto class_of = [&](std::size_t column) {
    return column + number_columns < titles_of(view.by).size() ? " class=\"words\"" : "";
  };
  std::string html =
      "<div class=\"wide full\" tabindex=\"0\" role=\"region\" aria-label=\"table of "
      "kernels\"><table><thead><tr>";
  const std::vector<std::string> titles = titles_of(view.by);
  for (std::size_t i = 0; i < titles.size(); ++i)
    html += fmt::format("<th{}>{}</th>", class_of(i), escaped(titles[i]));
  html += "</tr></thead><tbody>\n";
  for (const ProfileRow& row : shortened(rows_of(view), 25)) {
    html += "<tr>";
    const std::vector<std::string> cells = cells_of(row, view);
    for (std::size_t i = 0; i < cells.size(); ++i)
      html += fmt::format("<td{}>{}</td>", class_of(i), escaped(cells[i]));
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace

double utilisation(const ProfileView& view) {
  const double seconds = view.profile.step_seconds();
  return seconds > 0 ? view.profile.flops() / seconds / view.peaks.flops_of(view.dtype) : 0;
}

std::string profile_table(const ProfileView& view, std::size_t most) {
  std::string text;
  for (const auto& [name, value] : facts_of(view)) text += fmt::format("{:<11} {}\n", name, value);
  TextTable table;
  const std::vector<std::string> titles = titles_of(view.by);
  for (std::size_t i = 0; i < titles.size(); ++i)
    table.header.push_back({titles[i], i + number_columns >= titles.size()});
  for (const ProfileRow& row : shortened(rows_of(view), most)) table.rows.push_back(cells_of(row, view));
  return text + "\n" + terminal_table(table);
}

std::string profile_json(const ProfileView& view) {
  const ProfileFacts& f = view.facts;
  const Profile& p = view.profile;
  ordered_json ops = ordered_json::array();
  for (const ProfileRow& row : rows_of(view)) ops.push_back(op_json(row, view.by));
  const ordered_json whole{{"model", f.model},
                           {"mode", f.mode},
                           {"device", f.device},
                           {"dtype", f.dtype},
                           {"batch", f.batch},
                           {"image_size", {f.height, f.width}},
                           {"threads", f.threads},
                           {"warm_up", f.warm_up},
                           {"steps", p.steps()},
                           {"step_seconds", p.step_seconds()},
                           {"each_step", p.each_step()},
                           {"parts",
                            {{"data", p.seconds_in(RangeKind::data)},
                             {"forward", p.seconds_in(RangeKind::forward)},
                             {"backward", p.seconds_in(RangeKind::backward)},
                             {"optimizer", p.seconds_in(RangeKind::optimizer)}}},
                           {"flops", p.flops()},
                           {"utilisation", utilisation(view)},
                           {"memory_peak_bytes", f.memory_peak},
                           {"peaks", ordered_json::parse(peaks_json(view.peaks))},
                           {"ops", ops}};
  return whole.dump(1) + "\n";
}

std::string profile_section(const ProfileView& view) {
  const std::vector<ProfileRow> rows = view.profile.rows(ProfileBy::kernel, view.peaks);
  std::string html = facts_html(facts_of(view));
  const std::string roofline = roofline_chart(rows, view.peaks);
  if (!roofline.empty()) {
    html +=
        "<h3>Roofline</h3>\n" + roofline +
        "<p class=\"note\">A dot is a kernel, its area the time it takes; numbers are the longest. The "
        "lines are measured: left of the knee the copy rate bounds, right of it the matrix product. A dot "
        "on its line takes its floor; above it stands what works from the caches, or does fewer "
        "operations than are counted (Winograd, padding).</p>\n";
  }
  html += "<h3>One step</h3>\n" + time_line(view.profile, view.profile.median_step());
  return html + "<h3>Kernels</h3>\n" + table_html(view);
}

std::string profile_page(const ProfileView& view) {
  return page_html(fmt::format("Profile of {}", view.facts.model), profile_section(view));
}

}  // namespace fovea
