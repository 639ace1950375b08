// See observers.hpp.
#include "observers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "eval/table_text.hpp"
#include "kernels/cpu/workspace.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/ledger.hpp"
#include "kernels/runtime/shadow.hpp"
#include "kernels/runtime/timing.hpp"

namespace fovea {
namespace {

using Json = nlohmann::ordered_json;
using Sample = Ledger::Sample;

// ---- A/B

// An infinite difference is null; not_finite says how many elements make it so.
Json json_of(const Shadows::Row& row) {
  const Spread ratio = row.ratio();
  Json json{{"op", row.primitive},
            {"first", row.first},
            {"second", row.second},
            {"problem", row.problem},
            {"runs", row.runs},
            {"relative", row.difference.relative},
            {"elementwise", row.difference.elementwise},
            {"ulp", row.difference.ulp},
            {"share", row.difference.share},
            {"not_finite", row.difference.not_finite},
            {"port", row.port},
            {"index", row.index},
            {"step", row.worst_step},
            {"time_ratio", {{"median", ratio.median}, {"p10", ratio.p10}, {"p90", ratio.p90}}},
            {"timed", row.ratios.size()},
            {"passed_at", nullptr}};
  if (row.passed_at > 0) json["passed_at"] = row.passed_at;
  return json;
}

Json ab_json() {
  Json rows = Json::array();
  for (const Shadows::Row& row : shadows().rows()) rows.push_back(json_of(row));
  return {{"every", shadows().options().every}, {"bound", shadows().options().bound}, {"rows", rows}};
}

std::string share_text(double share) { return share > 0 ? fmt::format("{:.2g} %", 100 * share) : "-"; }

// "0.07", "2.43", "34.1", "450"
std::string times_text(double times) {
  return fmt::format("{:.{}f}", times, times < 10 ? 2 : times < 100 ? 1 : 0);
}

std::string ab_text() {
  TextTable table{{{"op", false},
                   {"first, second", false},
                   {"runs"},
                   {"relative"},
                   {"element"},
                   {"ULP"},
                   {"differ"},
                   {"time", false},
                   {"furthest off", false},
                   {"problem", false}},
                  {}};
  for (const Shadows::Row& row : shadows().rows()) {
    const Spread ratio = row.ratio();
    const Difference& d = row.difference;
    table.rows.push_back(
        {row.primitive, fmt::format("{}, {}", row.first, row.second), fmt::format("{}", row.runs),
         fmt::format("{:.2g}", d.relative), fmt::format("{:.2g}", d.elementwise),
         fmt::format("{:.3g}", d.ulp), share_text(d.share),
         fmt::format("{}x ({} to {})", times_text(ratio.median), times_text(ratio.p10),
                     times_text(ratio.p90)),
         row.port.empty() ? "-" : fmt::format("{} {}, step {}", row.port, row.index, row.worst_step),
         row.problem + (row.passed_at > 0 ? fmt::format("; passed the bound of {:g} at step {}",
                                                        shadows().options().bound, row.passed_at)
                                          : "")});
  }
  return "a/b: the second kernel beside the first, which is the run's; time: the second's over the first's "
         "(p10 to p90)\n" +
         (table.rows.empty() ? std::string("  none of these ops ran\n") : terminal_table(table));
}

// ---- ledger

// Of one primitive and kernel: the largest over its problems, step by step.
struct Drift {
  std::vector<Sample> steps;
  double most_ulp = 0, most_share = 0;
  std::int64_t samples = 0;
};

std::map<std::pair<std::string, std::string>, Drift> drifts() {
  std::map<std::pair<std::string, std::string>, Drift> all;
  for (const Sample& s : ledger().samples()) {
    Drift& drift = all[{s.primitive, s.kernel}];
    ++drift.samples;
    drift.most_ulp = std::max(drift.most_ulp, s.difference.ulp);
    drift.most_share = std::max(drift.most_share, s.difference.share);
    if (drift.steps.empty() || drift.steps.back().step != s.step) {
      drift.steps.push_back(s);
    } else if (s.difference.relative > drift.steps.back().difference.relative) {
      drift.steps.back() = s;
    }
  }
  return all;
}

struct Extent {
  double least = 0, median = 0, most = 0, first = 0, last = 0;
};

Extent extent_of(const Drift& drift) {
  std::vector<double> values;
  for (const Sample& s : drift.steps) values.push_back(s.difference.relative);
  Extent extent{.first = values.front(), .last = values.back()};
  std::sort(values.begin(), values.end());
  extent.least = values.front();
  extent.median = quantile(values, 0.5);
  extent.most = values.back();
  return extent;
}

Json ledger_json() {
  Json rows = Json::array(), left_out = Json::array();
  for (const auto& [key, drift] : drifts()) {
    const Extent e = extent_of(drift);
    rows.push_back(
        {{"op", key.first},
         {"kernel", key.second},
         {"samples", drift.samples},
         {"steps", drift.steps.size()},
         {"relative",
          {{"min", e.least}, {"median", e.median}, {"max", e.most}, {"first", e.first}, {"last", e.last}}},
         {"ulp", drift.most_ulp},
         {"share", drift.most_share},
         {"first_step", drift.steps.front().step},
         {"last_step", drift.steps.back().step}});
  }
  for (const auto& [name, why] : ledger().left_out()) left_out.push_back({{"op", name}, {"why", why}});
  return {
      {"every", ledger().every()}, {"seconds", ledger().seconds()}, {"rows", rows}, {"left_out", left_out}};
}

std::string ledger_csv() {
  std::string text = "step,primitive,kernel,shape,relative,ulp,share,port\n";
  for (const Sample& s : ledger().samples()) {
    text += csv_line(std::vector<std::string>{
        fmt::format("{}", s.step), s.primitive, s.kernel, s.problem, fmt::format("{}", s.difference.relative),
        fmt::format("{}", s.difference.ulp), fmt::format("{}", s.difference.share), s.port});
  }
  return text;
}

std::string ledger_text() {
  TextTable table{{{"op", false},
                   {"kernel", false},
                   {"samples"},
                   {"min"},
                   {"median"},
                   {"max"},
                   {"first"},
                   {"last"},
                   {"ULP"},
                   {"differ"}},
                  {}};
  const auto short_text = [](double v) { return fmt::format("{:.2g}", v); };
  for (const auto& [key, drift] : drifts()) {
    const Extent e = extent_of(drift);
    table.rows.push_back({key.first, key.second, fmt::format("{}", drift.samples), short_text(e.least),
                          short_text(e.median), short_text(e.most), short_text(e.first), short_text(e.last),
                          fmt::format("{:.3g}", drift.most_ulp), share_text(drift.most_share)});
  }
  std::string text = fmt::format(
      "ledger: each kernel's own rounding error, relative, against fp64 on the same inputs (took {:.1f} s)\n",
      ledger().seconds());
  text += terminal_table(table);
  for (const auto& [name, why] : ledger().left_out()) text += fmt::format("  {}: left out: {}\n", name, why);
  return text;
}

}  // namespace

void start_observers(const RunConfig& config) {
  if (config.ab.empty() && (config.ab_bound > 0 || config.ab_stop)) {
    fail_usage(fmt::format("{} needs --ab OP=FIRST,SECOND", config.ab_stop ? "--ab-stop" : "--ab-bound"));
  }
  if (config.ab_stop && config.ab_bound <= 0) fail_usage("--ab-stop needs a bound: --ab-bound 1e-4");
  set_shared_scratch({&Workspace::size, &Workspace::restore});
  shadows().set({.every = config.ab_every,
                 .bound = config.ab_bound,
                 .report = [](const std::string& sentence) { fmt::print(stderr, "{}\n", sentence); }});
  for (const std::string& pair : config.ab) shadows().pair(pair);
  if (config.ledger) ledger().start(config.ledger_every);
}

bool stopped_by_bound(const RunConfig& config) {
  return config.ab_stop && !shadows().first_passing().empty();
}

std::string observations_text() {
  return (shadows().on() ? ab_text() : "") + (ledger().on() ? ledger_text() : "");
}

std::string observations_json() {
  Json json = Json::object();
  if (shadows().on()) json["ab"] = ab_json();
  if (ledger().on()) json["ledger"] = ledger_json();
  return json.dump(2) + "\n";
}

void write_observations(const RunFolder& folder) {
  if (shadows().on()) write_file_atomically(folder.file("ab.json"), ab_json().dump(2) + "\n");
  if (!ledger().on()) return;
  write_file_atomically(folder.file("ledger.json"), ledger_json().dump(2) + "\n");
  write_file_atomically(folder.file("ledger.csv"), ledger_csv());
}

}  // namespace fovea
