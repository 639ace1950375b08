// The table of a comparison in its forms. One list of columns makes all of them, so that they cannot say different things.
#include "eval/comparison.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "eval/table_text.hpp"

namespace fovea {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

// A column: its names, which of the two tables of a terminal it stands in, and what a row has there.
struct Column {
  ComparisonColumn names;
  enum Part : std::uint8_t { figures, circumstances } part;
  std::string (*text)(const ComparedRow&);
  double (*value)(const ComparedRow&);
};

std::string interval(const MetricValue& v) {
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", v.value, v.low, v.high);
}
std::string signed_interval(const MetricValue& v) {
  return fmt::format("{:+.3f} [{:+.3f}, {:+.3f}]", v.value, v.low, v.high);
}

template <MetricValue Metrics::*Member>
Column metric(const char* name, const char* title) {
  return {{name, title},
          Column::figures,
          [](const ComparedRow& r) { return r.metrics ? interval((*r.metrics).*Member) : std::string(); },
          [](const ComparedRow& r) { return r.metrics ? ((*r.metrics).*Member).value : none; }};
}

// What stands beside a model; an ablation is not the paper's.
const PaperRow* paper_of(const ComparedRow& row, std::size_t classes) {
  return row.kind == RowKind::model ? paper_row(row.model, classes) : nullptr;
}

// Columns of the paper are there where the task is its own, of three grades.
constexpr std::size_t paper_classes = 3;

template <double PaperRow::*Member>
Column paper(const char* name, const char* title) {
  return {{name, title},
          Column::circumstances,
          [](const ComparedRow& r) {
            const PaperRow* row = paper_of(r, paper_classes);
            return row ? fmt::format("{:.2f}", row->*Member) : std::string();
          },
          [](const ComparedRow& r) {
            const PaperRow* row = paper_of(r, paper_classes);
            return row ? row->*Member : none;
          }};
}

double seconds_of(const ComparedRow& row) {
  double sum = 0;
  for (const ComparedRun& run : row.runs) sum += run.seconds;
  return sum;
}

double rate_of(const ComparedRow& row) {
  double sum = 0, count = 0;
  for (const ComparedRun& run : row.runs) {
    if (run.images_per_s <= 0) continue;
    sum += run.images_per_s;
    count += 1;
  }
  return count > 0 ? sum / count : none;
}

std::string duration(double seconds) {
  const auto s = static_cast<long>(std::lround(seconds));
  if (s < 60) return fmt::format("{:.1f} s", seconds);
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
}

std::string state_of(const ComparedRow& row) {
  const auto finished =
      std::count_if(row.runs.begin(), row.runs.end(), [](const auto& r) { return r.metrics.has_value(); });
  const auto failed =
      std::count_if(row.runs.begin(), row.runs.end(), [](const auto& r) { return !r.failure.empty(); });
  const std::string done = fmt::format("{} of {}", finished, row.runs.size());
  return failed == 0 ? done : fmt::format("{}, {} failed", done, failed);
}

std::vector<Column> own_columns(bool with_paper) {
  std::vector<Column> all{
      {{"name", "model", false},
       Column::figures,
       [](const ComparedRow& r) { return r.name; },
       [](const ComparedRow&) { return none; }},
      metric<&Metrics::accuracy>("accuracy", "accuracy"),
      metric<&Metrics::precision>("precision", "precision"),
      metric<&Metrics::recall>("recall", "recall"),
      metric<&Metrics::f1>("f1", "F1"),
      metric<&Metrics::f1_pr>("f1_pr", "F1 as 2PR/(P+R)"),
      metric<&Metrics::kappa>("kappa", "kappa"),
      metric<&Metrics::auroc>("auroc", "AUROC"),
      {{"difference", "accuracy minus reference's"},
       Column::circumstances,
       [](const ComparedRow& r) {
         return r.difference ? signed_interval(r.difference->accuracy) : std::string();
       },
       [](const ComparedRow& r) { return r.difference ? r.difference->accuracy.value : none; }},
      {{"p", "p (Holm)"},
       Column::circumstances,
       [](const ComparedRow& r) { return r.difference ? p_text(r.difference->p_corrected) : std::string(); },
       [](const ComparedRow& r) { return r.difference ? r.difference->p_corrected : none; }},
      {{"runs", "runs", false}, Column::circumstances, state_of, [](const ComparedRow&) { return none; }},
      {{"parameters", "parameters"},
       Column::circumstances,
       [](const ComparedRow& r) {
         return r.parameters > 0 ? fmt::format("{:.2f} M", static_cast<double>(r.parameters) / 1e6)
                                 : std::string();
       },
       [](const ComparedRow& r) { return r.parameters > 0 ? static_cast<double>(r.parameters) : none; }},
      {{"gflops", "GFLOP/image"},
       Column::circumstances,
       [](const ComparedRow& r) { return r.gflops > 0 ? fmt::format("{:.3g}", r.gflops) : std::string(); },
       [](const ComparedRow& r) { return r.gflops > 0 ? r.gflops : none; }},
      {{"train_seconds", "training"},
       Column::circumstances,
       [](const ComparedRow& r) { return seconds_of(r) > 0 ? duration(seconds_of(r)) : std::string(); },
       [](const ComparedRow& r) { return seconds_of(r) > 0 ? seconds_of(r) : none; }},
      {{"images_per_s", "images/s"},
       Column::circumstances,
       [](const ComparedRow& r) {
         return std::isnan(rate_of(r)) ? std::string() : fmt::format("{:.1f}", rate_of(r));
       },
       [](const ComparedRow& r) { return rate_of(r); }},
  };
  if (with_paper) {
    all.push_back(paper<&PaperRow::precision>("paper_precision", "paper: precision"));
    all.push_back(paper<&PaperRow::recall>("paper_recall", "recall"));
    all.push_back(paper<&PaperRow::accuracy>("paper_accuracy", "accuracy"));
    all.push_back(paper<&PaperRow::f1_pr>("paper_f1_pr", "F1"));
  }
  return all;
}

std::vector<Column> columns_of(const Comparison& comparison) {
  return own_columns(comparison.classes.size() == paper_classes);
}

std::string marked_name(const Comparison& comparison, const ComparedRow& row) {
  if (row.name == comparison.reference) return row.name + " (reference)";
  return row.difference && row.difference->significant() ? row.name + " *" : row.name;
}

// The columns of one part of the table, the name always first.
TextTable part_of(const Comparison& comparison, Column::Part part) {
  TextTable table;
  const std::vector<Column> columns = columns_of(comparison);
  for (const Column& c : columns) {
    if (&c == &columns.front() || c.part == part) table.header.push_back({c.names.title, c.names.number});
  }
  for (const ComparedRow& row : comparison.rows) {
    std::vector<std::string>& cells = table.rows.emplace_back();
    for (const Column& c : columns) {
      if (&c == &columns.front()) {
        cells.push_back(marked_name(comparison, row));
      } else if (c.part == part) {
        cells.push_back(c.text(row));
      }
    }
  }
  return table;
}

std::vector<std::string> failures_of(const Comparison& comparison) {
  std::vector<std::string> lines;
  for (const ComparedRow& row : comparison.rows) {
    for (const ComparedRun& run : row.runs) {
      if (!run.failure.empty())
        lines.push_back(fmt::format("{}, fold {}, seed {}: {}", row.name, run.fold, run.seed, run.failure));
    }
  }
  return lines;
}

nlohmann::ordered_json json_of(const MetricValue& v) {
  return {{"value", v.value}, {"low", v.low}, {"high", v.high}};
}

nlohmann::ordered_json json_of(const ComparedRun& run) {
  nlohmann::ordered_json json{{"fold", run.fold},
                              {"seed", run.seed},
                              {"folder", run.folder},
                              {"seconds", run.seconds},
                              {"images_per_s", run.images_per_s}};
  if (run.metrics) {
    for (const NamedMetric& metric : named_metrics())
      json[std::string(metric.name)] = ((*run.metrics).*metric.member).value;
  }
  if (!run.failure.empty()) json["failure"] = run.failure;
  return json;
}

nlohmann::ordered_json json_of(const PairedDifference& d, const std::string& reference) {
  return {{"from", reference},
          {"accuracy", json_of(d.accuracy)},
          {"f1", json_of(d.f1)},
          {"kappa", json_of(d.kappa)},
          {"auroc", json_of(d.auroc)},
          {"only_this_right", d.only_this},
          {"only_reference_right", d.only_reference},
          {"test", d.test},
          {"p", d.p},
          {"p_corrected", d.p_corrected}};
}

nlohmann::ordered_json json_of(const Comparison& comparison, const ComparedRow& row) {
  nlohmann::ordered_json json{{"name", row.name},
                              {"model", row.model},
                              {"kind", row.kind == RowKind::model ? "model" : "ablation"},
                              {"parameters", row.parameters},
                              {"gflops", row.gflops},
                              {"train_seconds", seconds_of(row)}};
  json["settings"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : row.settings) json["settings"][key] = value;
  if (!std::isnan(rate_of(row))) json["images_per_s"] = rate_of(row);
  if (row.metrics) json["metrics"] = nlohmann::ordered_json::parse(metrics_json(*row.metrics));
  if (row.difference) json["difference"] = json_of(*row.difference, comparison.reference);
  if (const PaperRow* paper = paper_of(row, comparison.classes.size())) {
    json["paper"] = {{"precision", paper->precision},
                     {"recall", paper->recall},
                     {"accuracy", paper->accuracy},
                     {"f1_pr", paper->f1_pr}};
  }
  json["runs"] = nlohmann::ordered_json::array();
  for (const ComparedRun& run : row.runs) json["runs"].push_back(json_of(run));
  return json;
}

}  // namespace

std::vector<ComparisonColumn> comparison_columns(const Comparison& comparison) {
  std::vector<ComparisonColumn> names;
  for (const Column& column : columns_of(comparison)) names.push_back(column.names);
  return names;
}

std::vector<std::string> comparison_cells(const Comparison& comparison, const ComparedRow& row) {
  std::vector<std::string> cells;
  for (const Column& column : columns_of(comparison)) cells.push_back(column.text(row));
  return cells;
}

std::vector<double> comparison_values(const Comparison& comparison, const ComparedRow& row) {
  std::vector<double> values;
  for (const Column& column : columns_of(comparison)) values.push_back(column.value(row));
  return values;
}

std::vector<HardSample> hardest_samples(const std::vector<ComparedRow>& rows, std::size_t classes,
                                        std::size_t count) {
  std::vector<HardSample> samples;
  std::map<std::string, std::size_t> place;
  for (const ComparedRow& row : rows) {
    for (const std::vector<Prediction>& list : row.predictions) {
      for (const Prediction& p : list) {
        const auto [found, added] = place.emplace(p.id, samples.size());
        if (added)
          samples.push_back({p.id, p.subject, p.label, 0, 0, std::vector<std::int64_t>(classes), {}});
        HardSample& sample = samples[found->second];
        ++sample.of;
        sample.wrong += p.predicted != p.label;
        ++sample.predicted.at(static_cast<std::size_t>(p.predicted));
      }
    }
  }
  const auto share = [](const HardSample& s) {
    return static_cast<double>(s.wrong) / static_cast<double>(s.of);
  };
  std::erase_if(samples, [](const HardSample& s) { return s.wrong == 0; });
  std::ranges::stable_sort(samples,
                           [&](const HardSample& a, const HardSample& b) { return share(a) > share(b); });
  if (samples.size() > count) samples.resize(count);
  return samples;
}

std::string comparison_text(const Comparison& comparison) {
  std::string text =
      fmt::format("{}\n\n{}\n{}", comparison.title, terminal_table(part_of(comparison, Column::figures)),
                  terminal_table(part_of(comparison, Column::circumstances)));
  for (const std::string& line : failures_of(comparison)) text += fmt::format("\nfailed: {}", line);
  if (!failures_of(comparison).empty()) text += '\n';
  for (const std::string& note : comparison.notes) text += fmt::format("\n{}", wrapped(note, 110));
  return text;
}

std::string comparison_markdown(const Comparison& comparison) {
  std::string text = fmt::format("# {}\n\n", markdown_escaped(comparison.title));
  for (const auto& [name, value] : comparison.facts)
    text += fmt::format("- {}: {}\n", markdown_escaped(name), markdown_escaped(value));
  text += fmt::format("\n{}\n{}", markdown_table(part_of(comparison, Column::figures)),
                      markdown_table(part_of(comparison, Column::circumstances)));
  for (const std::string& line : failures_of(comparison))
    text += fmt::format("\nFailed: {}\n", markdown_escaped(line));
  for (const std::string& note : comparison.notes) text += fmt::format("\n{}\n", markdown_escaped(note));
  return text;
}

std::string comparison_csv(const Comparison& comparison) {
  std::vector<std::string> header{"name", "model", "kind", "settings", "runs", "n"};
  for (const NamedMetric& metric : named_metrics()) {
    for (const char* const end : {"", "_low", "_high"})
      header.push_back(fmt::format("{}{}", metric.name, end));
  }
  for (const char* const name : {"difference", "difference_low", "difference_high", "test", "p",
                                 "p_corrected", "parameters", "gflops", "train_seconds", "images_per_s",
                                 "paper_precision", "paper_recall", "paper_accuracy", "paper_f1_pr"}) {
    header.emplace_back(name);
  }
  std::string text = csv_line(header);
  const auto number = [](double v) { return std::isnan(v) ? std::string() : fmt::format("{}", v); };
  for (const ComparedRow& row : comparison.rows) {
    std::vector<std::string> settings;
    for (const auto& [key, value] : row.settings) settings.push_back(fmt::format("{}={}", key, value));
    std::vector<std::string> cells{row.name,
                                   row.model,
                                   row.kind == RowKind::model ? "model" : "ablation",
                                   fmt::format("{}", fmt::join(settings, " ")),
                                   state_of(row),
                                   row.metrics ? fmt::format("{}", row.metrics->n) : ""};
    for (const NamedMetric& metric : named_metrics()) {
      const MetricValue v = row.metrics ? (*row.metrics).*metric.member : MetricValue{none, none, none};
      for (const double part : {v.value, v.low, v.high}) cells.push_back(number(part));
    }
    const MetricValue d = row.difference ? row.difference->accuracy : MetricValue{none, none, none};
    for (const double part : {d.value, d.low, d.high}) cells.push_back(number(part));
    cells.push_back(row.difference ? row.difference->test : "");
    for (const double part :
         {row.difference ? row.difference->p : none, row.difference ? row.difference->p_corrected : none,
          row.parameters > 0 ? static_cast<double>(row.parameters) : none, row.gflops > 0 ? row.gflops : none,
          seconds_of(row), rate_of(row)}) {
      cells.push_back(number(part));
    }
    const PaperRow* paper = paper_of(row, comparison.classes.size());
    for (const auto member : {&PaperRow::precision, &PaperRow::recall, &PaperRow::accuracy, &PaperRow::f1_pr})
      cells.push_back(paper ? number(paper->*member) : "");
    text += csv_line(cells);
  }
  return text;
}

std::string comparison_json(const Comparison& comparison) {
  nlohmann::ordered_json json{{"title", comparison.title}, {"reference", comparison.reference}};
  json["classes"] = comparison.classes;
  for (const auto& [name, value] : comparison.facts) json["facts"][name] = value;
  json["notes"] = comparison.notes;
  json["rows"] = nlohmann::ordered_json::array();
  for (const ComparedRow& row : comparison.rows) json["rows"].push_back(json_of(comparison, row));
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fovea
