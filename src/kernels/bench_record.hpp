// BenchRecord: what a benchmark read, and on what: one JSON schema for kernel_bench and bench/peers, documented in
// docs/bench.md. Records come from other machines and people: reading one trusts nothing in it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime/device.hpp"

namespace fovea::bench {

/// Who, what, when, as text; a field that says nothing of this run is empty. Fields in the order of stamp_fields().
using Stamp = std::vector<std::pair<std::string, std::string>>;

struct StampField {
  const char* name;
  bool must_match;  // times of two records are compared only where this is the same in both
};
const std::vector<StampField>& stamp_fields();

struct BenchRow {
  // What was timed: these are a row's key.
  std::string op, kernel, shape, dtype, state, timed;  // state: cold or warm; timed: graph, launches or steps
  std::string ran;                                     // the kernel behind kernel "chosen"; else empty
  double median_us = 0, p10_us = 0, p90_us = 0;
  double again_us = 0;  // the median of a second time, after all others; 0: not taken
  double copies = 0, replays = 0;
  double floor_us = 0, bytes = 0, flops = 0, exact_flops = 0, error = 0;  // 0: not known
  std::string baseline;                                                   // a kernel of this run, or empty
  double ratio = 0;  // this one's median over the baseline's

  double ratio_p10 = 0, ratio_p90 = 0;  // where times were taken in pairs

  std::string key() const;  // "ham.forward fused N8_256@56 f32 cold graph"
  /// How far two times of the same thing may lie apart, as a share of the median: half of what lies between the percentiles,
  /// though no more than three times what lies below the median (a tail of interruptions does not move it); or what the
  /// second time differs by; 1 % at least.
  double noise() const;
};

struct BenchRecord {
  Stamp stamp;
  std::vector<BenchRow> rows;
  const std::string& stamped(const std::string& field) const;
};

/// Of this process, now: `tool` is who times, `device` what computes.
Stamp stamp_now(const std::string& tool, Device device, const std::string& commit,
                const std::string& kernel_hash);

nlohmann::ordered_json json_of(const BenchRecord& record);
void write_record(const std::string& path, const BenchRecord& record);
/// Error, "PATH is not usable: ...": no JSON, too large or deep, a key twice, another format or version, a field missing or
/// of the wrong kind, a row twice, percentiles out of order.
BenchRecord read_record(const std::string& path);

// ---- comparison

struct DiffRow {
  enum class Verdict : std::uint8_t { same, faster, slower };
  const BenchRow* before = nullptr;
  const BenchRow* after = nullptr;
  double ratio = 0;  // after over before
  double band = 0;   // what noise alone may make of it, as a share: the larger of the two rows'
  Verdict verdict = Verdict::same;
};

struct BenchDiff {
  std::vector<std::string> differs;  // sentences: fields of the stamp that must match and do not
  std::vector<DiffRow> rows;         // in the order of the first record
  std::vector<const BenchRow*> only_before, only_after;
  std::size_t count(DiffRow::Verdict verdict) const;
};

/// The records must outlive the diff. Beyond its band: above 1 + band slower, under 1 / (1 + band) faster.
BenchDiff diff_of(const BenchRecord& before, const BenchRecord& after);

}  // namespace fovea::bench
