// fovea peaks: the ceilings of this machine, as they are measured.
#include <fmt/format.h>

#include "command_line.hpp"
#include "commands.hpp"
#include "eval/table_text.hpp"
#include "training_profile.hpp"

namespace fovea {
namespace {

std::string table_of(const Peaks& peaks) {
  TextTable table{{{"ceiling", false}, {"rate"}, {"unit", false}, {"by", false}}, {}};
  const auto add = [&](const std::string& name, double rate, const char* unit, const std::string& by) {
    table.rows.push_back({name, fmt::format("{:.1f}", rate * 1e-9), unit, by});
  };
  add("copy", peaks.copy_bytes_per_s, "GB/s", "read + write, larger than the caches");
  add("triad", peaks.triad_bytes_per_s, "GB/s", "two reads and a write");
  for (const Peaks::Gemm& g : peaks.gemms)
    add(fmt::format("product {}", name_of(g.dtype)), g.flops, "GFLOP/s", g.by);
  return fmt::format("{}, {} threads, {}\n\n{}", peaks.machine, peaks.threads, peaks.library,
                     terminal_table(table));
}

}  // namespace

int command_peaks(const Arguments& arguments) {
  CommandLine line("peaks",
                   "The ceilings of this machine: measured once, then kept for profiles in "
                   "${FOVEA_CACHE:-${XDG_CACHE_HOME:-~/.cache}/fovea}.",
                   "  fovea peaks\n"
                   "  fovea peaks --threads 1 --json\n"
                   "  fovea peaks --measure          again, when the machine is quiet\n");
  bool again = false;
  line.flag("--measure", again, "measure again, though there is a file");
  if (!line.parse(arguments)) return exit_done;
  RunConfig config = line.config();
  resolve(config);
  apply_to_process(config, DeviceUse::single_kernels);
  const Peaks peaks = peaks_for(config, again);
  fmt::print("{}", line.json() ? peaks_json(peaks) : table_of(peaks));
  return exit_done;
}

}  // namespace fovea
