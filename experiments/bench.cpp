// fovea bench: records of times, shown and compared.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands.hpp"
#include "eval/table_text.hpp"
#include "kernels/bench_record.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using bench::BenchDiff;
using bench::BenchRecord;
using bench::BenchRow;
using bench::DiffRow;
using Json = nlohmann::ordered_json;

struct BenchOptions {
  std::string verb;
  std::vector<std::string> files;
  bool force = false, fail_on_slower = false;
};

std::string time_text(double us) {
  if (us >= 1e5) return fmt::format("{:.1f} ms", us / 1e3);
  return fmt::format("{:.2f} us", us);
}

const char* word_of(DiffRow::Verdict verdict) {
  constexpr std::array words{"", "faster", "SLOWER"};
  return words[static_cast<std::size_t>(verdict)];
}

std::string kernel_text(const BenchRow& row) {
  return row.ran.empty() ? row.kernel : row.kernel + ": " + row.ran;
}

std::string ratio_text(const BenchRow& r) {
  if (r.baseline.empty()) return "";
  const std::string spread =
      r.ratio_p90 > 0 ? fmt::format(" [{:.2f}, {:.2f}]", r.ratio_p10, r.ratio_p90) : "";
  return fmt::format("{:.2f}x{} {}", r.ratio, spread, r.baseline);
}

std::string shown(const BenchRecord& record) {
  std::string text;
  for (const auto& [name, value] : record.stamp) {
    if (!value.empty()) text += fmt::format("  {:<12} {}\n", name, value);
  }
  TextTable table{{{"op", false},
                   {"kernel", false},
                   {"shape", false},
                   {"dtype", false},
                   {"state", false},
                   {"timed", false},
                   {"median"},
                   {"p10"},
                   {"p90"},
                   {"noise"},
                   {"of floor"},
                   {"over baseline"}},
                  {}};
  for (const BenchRow& r : record.rows) {
    table.rows.push_back({r.op, kernel_text(r), r.shape, r.dtype, r.state, r.timed, time_text(r.median_us),
                          time_text(r.p10_us), time_text(r.p90_us), fmt::format("{:.1f} %", 100 * r.noise()),
                          r.floor_us > 0 ? fmt::format("{:.1f} %", 100 * r.floor_us / r.median_us) : "",
                          ratio_text(r)});
  }
  return text + "\n" + terminal_table(table);
}

std::string diff_table(const BenchDiff& diff) {
  TextTable table{{{"op", false},
                   {"kernel", false},
                   {"shape", false},
                   {"dtype", false},
                   {"state", false},
                   {"before"},
                   {"after"},
                   {"ratio"},
                   {"noise"},
                   {"", false}},
                  {}};
  for (const DiffRow& d : diff.rows) {
    const BenchRow& r = *d.before;
    const bool other = d.after->ran != r.ran;
    table.rows.push_back(
        {r.op, other ? fmt::format("{}: {} -> {}", r.kernel, r.ran, d.after->ran) : kernel_text(r), r.shape,
         r.dtype, r.timed == "launches" ? r.state + " (launches)" : r.state, time_text(r.median_us),
         time_text(d.after->median_us), fmt::format("{:.3f}", d.ratio),
         fmt::format("+-{:.1f} %", 100 * d.band), word_of(d.verdict)});
  }
  return diff.rows.empty() ? "" : terminal_table(table);
}

std::string diff_text(const BenchDiff& diff) {
  std::string text = diff_table(diff);
  for (const BenchRow* row : diff.only_before) text += fmt::format("only in the first: {}\n", row->key());
  for (const BenchRow* row : diff.only_after) text += fmt::format("only in the second: {}\n", row->key());
  return text + fmt::format("{} rows in both: {} slower beyond the noise, {} faster, {} within it\n",
                            diff.rows.size(), diff.count(DiffRow::Verdict::slower),
                            diff.count(DiffRow::Verdict::faster), diff.count(DiffRow::Verdict::same));
}

Json json_of(const BenchDiff& diff) {
  constexpr std::array verdicts{"same", "faster", "slower"};
  Json rows = Json::array(), before = Json::array(), after = Json::array();
  for (const DiffRow& d : diff.rows) {
    rows.push_back({{"op", d.before->op},
                    {"kernel", d.before->kernel},
                    {"shape", d.before->shape},
                    {"dtype", d.before->dtype},
                    {"state", d.before->state},
                    {"timed", d.before->timed},
                    {"before_us", d.before->median_us},
                    {"after_us", d.after->median_us},
                    {"ratio", d.ratio},
                    {"noise", d.band},
                    {"verdict", verdicts[static_cast<std::size_t>(d.verdict)]}});
  }
  for (const BenchRow* row : diff.only_before) before.push_back(row->key());
  for (const BenchRow* row : diff.only_after) after.push_back(row->key());
  return {{"differs", diff.differs}, {"rows", rows}, {"only_first", before}, {"only_second", after}};
}

int show(const CommandLine& line, const BenchOptions& options) {
  if (options.files.size() != 1) line.usage("bench show takes one record");
  const BenchRecord record = bench::read_record(options.files[0]);
  if (line.json()) {
    fmt::print("{}\n", bench::json_of(record).dump(1));
  } else {
    fmt::print("{}", shown(record));
  }
  return exit_done;
}

int diff(const CommandLine& line, const BenchOptions& options) {
  if (options.files.size() != 2) line.usage("bench diff takes two records, the earlier one first");
  const BenchRecord before = bench::read_record(options.files[0]),
                    after = bench::read_record(options.files[1]);
  const BenchDiff diff = bench::diff_of(before, after);
  const std::string differs = fmt::format("{}", fmt::join(diff.differs, "; "));
  if (!diff.differs.empty() && !options.force) {
    fail(fmt::format("times of the two records do not compare: {}; --force compares them all the same",
                     differs));
  }
  if (!diff.differs.empty()) fmt::print(stderr, "note: these were not read on the same: {}\n", differs);
  if (diff.rows.empty()) fail("the two records have no row in common");
  fmt::print("{}", line.json() ? json_of(diff).dump(1) + "\n" : diff_text(diff));
  return options.fail_on_slower && diff.count(DiffRow::Verdict::slower) > 0 ? exit_failed : exit_done;
}

}  // namespace

int command_bench(const Arguments& arguments) {
  CommandLine line(
      "bench",
      "Records of times, as kernel_bench --json and bench/peers write them: show one, or compare two row by "
      "row.",
      "  build/bench/kernel_bench --json before.json        times every kernel; --help says what else\n"
      "  fovea bench show before.json\n"
      "  fovea bench diff before.json after.json --fail-on-slower\n");
  BenchOptions options;
  line.positional("show|diff", options.verb, "what to do");
  line.positionals("FILE", options.files, "records");
  line.flag("--force", options.force,
            "diff: compare records that were not read on the same machine and versions");
  line.flag("--fail-on-slower", options.fail_on_slower,
            "diff: exit with 1 where a row got slower beyond its noise");
  if (!line.parse(arguments)) return exit_done;
  if (options.verb == "show") return show(line, options);
  if (options.verb == "diff") return diff(line, options);
  line.usage(options.verb.empty() ? "say what to do: show or diff"
                                  : fmt::format("bench knows show and diff, not '{}'", options.verb));
}

}  // namespace fovea
