// See profile_report.hpp.
#include "eval/profile_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "eval/html.hpp"
#include "eval/profile_charts.hpp"
#include "eval/table_text.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {
namespace {

using nlohmann::ordered_json;

std::vector<ProfileRow> rows_of(const ProfileView& view) { return view.profile.rows(view.by, view.peaks); }

constexpr std::size_t page_rows = 25;  // of a table on a page

/// A column of the table: words to the left, numbers to the right.
struct Column {
  const char* title;
  bool number;
  std::function<std::string(const ProfileRow&)> text;
};

Column words(const char* title, std::string ProfileRow::*member) {
  return {title, false, [member](const ProfileRow& row) { return row.*member; }};
}

// Empty for what is in no kernel, which has a time alone.
template <class Value>
Column number(const char* title, const char* format, Value value) {
  return {title, true, [format, value](const ProfileRow& row) {
            return row.in_kernels ? fmt::format(fmt::runtime(format), value(row)) : std::string();
          }};
}

std::vector<Column> columns_of(const ProfileView& view) {
  using Row = ProfileRow;
  std::vector<Column> columns;
  if (view.by == ProfileBy::layer) {
    columns = {words("layer", &Row::name)};
  } else {
    columns = {words("op", &Row::name), words("kernel", &Row::kernel)};
  }
  if (view.by == ProfileBy::layer_kernel) columns.push_back(words("layer", &Row::layer));
  if (view.by == ProfileBy::shape) columns.push_back(words("shape", &Row::shape));
  columns.push_back(number("calls", "{:.4g}", [](const Row& row) { return row.calls; }));
  if (view.profile.sees_device_work())
    columns.push_back(number("launches", "{:.4g}", [](const Row& row) { return row.launches; }));
  if (view.by == ProfileBy::layer) {
    columns.push_back(
        number("forward ms", "{:.3f}", [](const Row& row) { return row.forward_seconds * 1e3; }));
    columns.push_back(
        number("backward ms", "{:.3f}", [](const Row& row) { return row.backward_seconds * 1e3; }));
  }
  const double step = view.profile.step_seconds();
  columns.push_back(
      {"self ms", true, [](const Row& row) { return fmt::format("{:.3f}", row.self_seconds * 1e3); }});
  columns.push_back({"% of step", true, [step](const Row& row) {
                       return fmt::format("{:.1f}", 100 * row.self_seconds / step);
                     }});
  columns.push_back(number("GFLOP", "{:.3f}", [](const Row& row) { return row.flops * 1e-9; }));
  columns.push_back(number("MB", "{:.1f}", [](const Row& row) { return row.bytes * 1e-6; }));
  columns.push_back(number("GFLOP/s", "{:.1f}", [](const Row& row) { return row.flops_per_s() * 1e-9; }));
  columns.push_back(number("GB/s", "{:.1f}", [](const Row& row) { return row.bytes_per_s() * 1e-9; }));
  columns.push_back(number("% of floor", "{:.0f}", [](const Row& row) { return 100 * row.floor_share(); }));
  return columns;
}

// What no longer fits into a table, as one row of it.
ProfileRow sum_of(std::span<const ProfileRow> rows) {
  ProfileRow sum;
  sum.name = fmt::format("({} more)", rows.size());
  sum.kernel = "-";
  for (const ProfileRow& row : rows) {
    sum.calls += row.calls;
    sum.self_seconds += row.self_seconds;
    sum.forward_seconds += row.forward_seconds;
    sum.backward_seconds += row.backward_seconds;
    sum.launches += row.launches;
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
          {"Times", fmt::format("of kernels, by {}", p.clock_name())},
          {"Operations",
           fmt::format("{:.3f} GFLOP a step, {:.1f} GFLOP/s: {:.1f} % of the {} ceiling", p.flops() * 1e-9,
                       p.flops() / p.step_seconds() * 1e-9, 100 * utilisation(view), name_of(view.dtype))},
          {"Memory", fmt::format("{} of tensors at most", bytes_text(f.memory_peak))},
          {"Ceilings", ceilings_text(view.peaks)}};
}

ordered_json op_json(const ProfileRow& row, const ProfileView& view) {
  ordered_json op{{"name", row.name},
                  {"kernel", row.kernel},
                  {"calls", row.calls},
                  {"self_seconds", row.self_seconds},
                  {"flops", row.flops},
                  {"bytes", row.bytes},
                  {"floor_seconds", row.floor_seconds},
                  {"floor_share", row.floor_share()},
                  {"dtype", row.dtype}};
  if (view.profile.sees_device_work()) op["launches"] = row.launches;
  if (view.by == ProfileBy::layer) {
    op["forward_seconds"] = row.forward_seconds;
    op["backward_seconds"] = row.backward_seconds;
  }
  if (view.by == ProfileBy::layer || view.by == ProfileBy::layer_kernel) op["layer"] = row.layer;
  if (view.by == ProfileBy::shape) op["shape"] = row.shape;
  return op;
}

TextTable table_of(const ProfileView& view, std::size_t most) {
  TextTable table;
  const std::vector<Column> columns = columns_of(view);
  for (const Column& column : columns) table.header.push_back({column.title, column.number});
  for (const ProfileRow& row : shortened(rows_of(view), most)) {
    std::vector<std::string>& cells = table.rows.emplace_back();
    for (const Column& column : columns) cells.push_back(column.text(row));
  }
  return table;
}

std::string table_html(const TextTable& table, const char* name) {
  const auto line = [&](const char* tag, auto text_of) {
    std::string html = "<tr>";
    for (std::size_t i = 0; i < table.header.size(); ++i)
      html += fmt::format("<{0}{1}>{2}</{0}>", tag, table.header[i].number ? "" : " class=\"words\"",
                          escaped(text_of(i)));
    return html + "</tr>";
  };
  std::string html = fmt::format(
      "<div class=\"wide full\" tabindex=\"0\" role=\"region\" aria-label=\"table of {}\"><table><thead>",
      name);
  html += line("th", [&](std::size_t i) { return table.header[i].title; }) + "</thead><tbody>\n";
  for (const std::vector<std::string>& cells : table.rows)
    html += line("td", [&](std::size_t i) { return cells[i]; }) + "\n";
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
  return text + "\n" + terminal_table(table_of(view, most));
}

std::string profile_json(const ProfileView& view) {
  const ProfileFacts& f = view.facts;
  const Profile& p = view.profile;
  ordered_json ops = ordered_json::array();
  for (const ProfileRow& row : rows_of(view)) ops.push_back(op_json(row, view));
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
                           {"clock", p.clock_name()},
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
  html += "<h3>Kernels</h3>\n" + table_html(table_of(view, page_rows), "kernels");
  ProfileView layers = view;
  layers.by = ProfileBy::layer;
  return html + "<h3>Layers</h3>\n" + table_html(table_of(layers, page_rows), "layers");
}

std::string profile_page(const ProfileView& view) {
  return page_html(fmt::format("Profile of {}", view.facts.model), profile_section(view));
}

}  // namespace fovea
