// See comparison_report.hpp. In the order of a reader's questions: which is better, by more than chance, how far it varies,
// where they differ, how they learned, what failed.
#include "eval/comparison_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "eval/comparison_charts.hpp"
#include "eval/html.hpp"
#include "kernels/runtime/atomic_file.hpp"

namespace fovea {
namespace {

// A click on a header sorts by it, another one the other way; numbers begin with the largest. Rows without a value stay
// last, equal ones in the order of the page.
constexpr std::string_view sort_script = R"(
for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], given = [...body.rows];
  const valueOf = (row, column, number) => {
    const cell = row.cells[column];
    if (number) return 'value' in cell.dataset ? Number(cell.dataset.value) : null;
    return cell.textContent.trim() || null;
  };
  heads.forEach((head, column) => {
    const number = head.dataset.kind === 'number', button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const before = head.getAttribute('aria-sort');
      const order = before ? (before === 'ascending' ? 'descending' : 'ascending') : number ? 'descending' : 'ascending';
      const sign = order === 'ascending' ? 1 : -1;
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', order);
      const keyed = given.map(row => [valueOf(row, column, number), row]);
      keyed.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null)
                             : sign * (number ? a - b : a.localeCompare(b)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
)";

bool failed(const ComparedRow& row) {
  return std::any_of(row.runs.begin(), row.runs.end(),
                     [](const ComparedRun& run) { return !run.failure.empty(); });
}

/// What stands after a row's name.
std::string row_tags(const Comparison& comparison, const ComparedRow& row) {
  std::string tags;
  if (row.name == comparison.reference) tags += " <span class=\"tag\">reference</span>";
  if (failed(row)) {
    tags += " <span class=\"tag\">failed</span>";
  } else if (!row.metrics) {
    tags += " <span class=\"tag\">not finished</span>";
  }
  if (row.difference && row.difference->significant())
    tags +=
        " <abbr title=\"its accuracy differs from the reference's, p below 0.05 after Holm's "
        "correction\">*</abbr>";
  return tags;
}

/// A value with its interval in two lines, so that columns stay narrow and values stand below each other.
std::string cell_html(const std::string& cell) {
  const std::size_t interval = cell.find(" [");
  if (interval == std::string::npos || !cell.ends_with("]")) return escaped(cell);
  return escaped(cell.substr(0, interval)) + "<small>" + escaped(cell.substr(interval + 1)) + "</small>";
}

std::string table_row(const Comparison& comparison, const ComparedRow& row,
                      const std::vector<ComparisonColumn>& columns) {
  const std::vector<std::string> cells = comparison_cells(comparison, row);
  const std::vector<double> values = comparison_values(comparison, row);
  std::string html = row.name == comparison.reference ? "<tr class=\"reference\">" : "<tr>";
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const std::string value =
        columns[c].number && std::isfinite(values.at(c)) ? fmt::format(" data-value=\"{}\"", values[c]) : "";
    html += c == 0 ? fmt::format("<th scope=\"row\"{}>{}{}</th>", value, escaped(cells.at(c)),
                                 row_tags(comparison, row))
                   : fmt::format("<td{}{}>{}</td>", columns[c].number ? "" : " class=\"words\"", value,
                                 cell_html(cells.at(c)));
  }
  return html + "</tr>\n";
}

std::string head_cell(const ComparisonColumn& column) {
  const bool paper = column.name.starts_with("paper_") && !column.title.starts_with("paper");
  return fmt::format("<th scope=\"col\"{}>{}{}</th>",
                     column.number ? " data-kind=\"number\"" : " class=\"words\"", paper ? "paper: " : "",
                     escaped(column.title));
}

/// What a reader must know about the table: the comparison's own notes, and the one about the paper's columns.
std::string notes_section(const Comparison& comparison, const std::vector<ComparisonColumn>& columns) {
  std::vector<std::string> notes = comparison.notes;
  const bool paper = std::any_of(columns.begin(), columns.end(), [](const ComparisonColumn& column) {
    return column.name.starts_with("paper_");
  });
  if (paper && std::find(notes.begin(), notes.end(), paper_note) == notes.end())
    notes.emplace_back(paper_note);
  return notes_html(notes);
}

std::string table_section(const Comparison& comparison) {
  const std::vector<ComparisonColumn> columns = comparison_columns(comparison);
  std::string heads, rows;
  for (const ComparisonColumn& column : columns) heads += head_cell(column);
  // As in any other order: rows without figures last.
  for (const bool finished : {true, false})
    for (const ComparedRow& row : comparison.rows)
      if (row.metrics.has_value() == finished) rows += table_row(comparison, row, columns);
  return fmt::format(
      "<section class=\"results\"><h2>Results</h2>\n<div class=\"wide full\" tabindex=\"0\" role=\"region\" "
      "aria-label=\"table of results\"><table class=\"tall "
      "sortable\"><thead><tr>{}</tr></thead><tbody>\n{}</tbody>"
      "</table></div>\n{}</section>\n",
      heads, rows, notes_section(comparison, columns));
}

std::string difference_cell(const MetricValue& d) {
  return fmt::format("<td>{:+.3f}<small>[{:+.3f}, {:+.3f}]</small></td>", d.value, d.low, d.high);
}

std::string difference_row(const std::string& name, const PairedDifference& d) {
  std::string html = fmt::format("<tr><th scope=\"row\">{}</th>", escaped(name));
  for (const MetricValue& value : {d.accuracy, d.f1, d.kappa, d.auroc}) html += difference_cell(value);
  return html + fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>\n",
                            d.only_this, d.only_reference, escaped(p_text(d.p)),
                            escaped(p_text(d.p_corrected)), escaped(d.test));
}

std::string differences_section(const Comparison& comparison) {
  std::string rows, heads;
  std::vector<DotStrip> strips;
  for (const ComparedRow& row : comparison.rows) {
    if (!row.difference) continue;
    const PairedDifference& d = *row.difference;
    const std::string name = row.name + (d.significant() ? " *" : "");
    rows += difference_row(name, d);
    strips.push_back({name, {}, d.accuracy.value, d.accuracy.low, d.accuracy.high});
  }
  if (rows.empty()) return {};
  for (const char* head : {"model", "accuracy", "F1", "kappa", "AUROC", "only this right",
                           "only reference right", "p", "p (Holm)", "test"})
    heads += fmt::format("<th scope=\"col\">{}</th>", head);
  const std::string title = fmt::format("Difference in accuracy from {}", comparison.reference);
  return fmt::format(
      "<h2>Differences from {}</h2>\n<div class=\"charts\"><figure><h3>accuracy</h3>{}</figure></div>\n"
      "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"table of differences\"><table "
      "class=\"tall\"><thead><tr>{}</tr></thead><tbody>\n{}</tbody></table></div>\n<p class=\"note\">Each "
      "row minus "
      "the reference on the same samples, with 95 % intervals. p is of the difference in accuracy; counts of "
      "samples "
      "that only one of the two has right are over all seeds.</p>\n",
      escaped(comparison.reference), dot_strips(title, strips, 0), heads, rows);
}

std::string confusion_section(const Comparison& comparison) {
  std::string html;
  for (const ComparedRow& row : comparison.rows) {
    if (!row.metrics) continue;
    html += fmt::format("<details><summary>{}</summary>\n{}</details>\n", escaped(row.name),
                        confusion_html(*row.metrics));
  }
  return html.empty() ? html : "<h2>Confusion matrices</h2>\n" + html;
}

std::string hard_card(const Comparison& comparison, const HardSample& sample) {
  const auto name = [&](std::size_t k) {
    return k < comparison.classes.size() ? comparison.classes[k] : fmt::format("{}", k);
  };
  std::vector<CardShare> shares;
  for (std::size_t k = 0; k < sample.predicted.size(); ++k) {
    shares.push_back({name(k), fmt::format("{}", sample.predicted[k]),
                      static_cast<double>(sample.predicted[k]) / static_cast<double>(sample.of)});
  }
  const std::string body =
      fmt::format("<p>labelled <b>{}</b>, wrong in <b>{} of {}</b></p>\n",
                  escaped(name(static_cast<std::size_t>(sample.label))), sample.wrong, sample.of);
  return card_html(sample.id, sample.pictures, body, shares);
}

std::string hardest_section(const Comparison& comparison) {
  if (comparison.hardest.empty()) return {};
  std::string html =
      "<h2>Worst mistakes</h2>\n<p class=\"note\">The samples that most predictions get wrong, over all rows "
      "and seeds, "
      "and how often each class was predicted.</p>\n<div class=\"cards\">\n";
  for (const HardSample& sample : comparison.hardest) html += hard_card(comparison, sample);
  return html + "</div>\n";
}

std::string maps_section(const Comparison& comparison) {
  std::string html;
  for (const ComparedRow& row : comparison.rows) {
    if (!row.maps.empty()) html += picture_html({row.name, row.maps});
  }
  if (html.empty()) return html;
  return "<h2>Class activation maps</h2>\n<p class=\"note\">Of each row's first run: for each class the "
         "sample that is right "
         "with the highest probability, what the network saw and the map (Grad-CAM) of that class over "
         "it.</p>\n<div "
         "class=\"charts\">\n" +
         html + "</div>\n";
}

/// Where each run's own page lies; relative, so that the folder may be moved.
std::string runs_section(const Comparison& comparison) {
  std::string html;
  for (const ComparedRow& row : comparison.rows) {
    std::string links;
    for (const ComparedRun& run : row.runs) {
      if (run.metrics)
        links += fmt::format(" <a href=\"{}/report.html\">fold {}, seed {}</a>", escaped(run.folder),
                             run.fold, run.seed);
    }
    if (!links.empty()) html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped(row.name), links);
  }
  return html.empty() ? html : "<h2>Pages of the runs</h2>\n<dl>\n" + html + "</dl>\n";
}

std::string failures_section(const Comparison& comparison) {
  std::string html;
  for (const ComparedRow& row : comparison.rows) {
    for (const ComparedRun& run : row.runs) {
      if (run.failure.empty()) continue;
      html += fmt::format("<li><b>{}</b>, fold {}, seed {}: {}</li>\n", escaped(row.name), run.fold, run.seed,
                          escaped(run.failure));
    }
  }
  return html.empty() ? html : "<h2>What failed</h2>\n<ul class=\"notes\">\n" + html + "</ul>\n";
}

}  // namespace

std::string comparison_html(const Comparison& comparison) {
  std::string body = facts_html(comparison.facts);
  body += table_section(comparison);
  body += failures_section(comparison) + differences_section(comparison) + spread_section(comparison) +
          roc_section(comparison) + confusion_section(comparison) + curves_section(comparison);
  body += hardest_section(comparison) + maps_section(comparison) + runs_section(comparison);
  body += listing_html("Configuration", comparison.config) + listing_html("Environment", comparison.stamp);
  return page_html(comparison.title.empty() ? "Comparison" : comparison.title, body, sort_script);
}

void write_comparison_report(const std::string& folder, const Comparison& comparison) {
  write_file_atomically((std::filesystem::path(folder) / "report.html").string(),
                        comparison_html(comparison));
}

}  // namespace fovea
