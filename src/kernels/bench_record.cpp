// See bench_record.hpp.
#include "kernels/bench_record.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>

#include "kernels/cuda/library.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/strict_json.hpp"

namespace fovea::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* format_name = "fovea-bench";
constexpr int format_version = 1;
constexpr std::size_t most_bytes = std::size_t{32} << 20, most_rows = 100000;

constexpr double least_noise = 0.01;

void put(Stamp& stamp, const char* field, std::string value) {
  for (auto& [name, text] : stamp) {
    if (name == field) text = std::move(value);
  }
}

void put_device(Stamp& stamp) {
  const DeviceInfo& info = device_info();
  put(stamp, "device", info.name);
  put(stamp, "driver", cuda_version_text(info.driver_version));
  put(stamp, "toolkit", cuda_version_text(info.runtime_version));
  put(stamp, "clocks",
      fmt::format("{} MHz, memory {} MHz", info.clock_khz / 1000, info.memory_clock_khz / 1000));
  if (library::source().why_unusable().empty()) put(stamp, "cudnn", library::source().header().cudnn);
}

BenchRow row_of(const strict_json::Object& o, const std::string& path) {
  BenchRow r;
  r.op = o.text("op");
  r.kernel = o.text("kernel");
  r.shape = o.text("shape");
  r.dtype = o.text("dtype");
  r.state = o.text("state");
  r.timed = o.text("timed");
  r.ran = o.text_or("ran", "");
  r.median_us = o.number("median_us");
  r.p10_us = o.number("p10_us");
  r.p90_us = o.number("p90_us");
  for (const auto& [name, value] :
       {std::pair("again_us", &r.again_us), std::pair("copies", &r.copies), std::pair("replays", &r.replays),
        std::pair("floor_us", &r.floor_us), std::pair("bytes", &r.bytes), std::pair("flops", &r.flops),
        std::pair("exact_flops", &r.exact_flops), std::pair("error", &r.error), std::pair("ratio", &r.ratio),
        std::pair("ratio_p10", &r.ratio_p10), std::pair("ratio_p90", &r.ratio_p90)}) {
    if (o.has(name)) *value = o.number(name);
  }
  r.baseline = o.text_or("baseline", "");
  if (!(r.median_us > 0)) strict_json::fail_file(path, fmt::format("'{}' took no time", r.key()));
  if (r.p10_us > r.median_us || r.median_us > r.p90_us) {
    strict_json::fail_file(
        path, fmt::format("'{}' has a median of {} us outside its percentiles, {} and {} us", r.key(),
                          r.median_us, r.p10_us, r.p90_us));
  }
  return r;
}

Json json_of(const BenchRow& r) {
  Json json{{"op", r.op},
            {"kernel", r.kernel},
            {"shape", r.shape},
            {"dtype", r.dtype},
            {"state", r.state},
            {"timed", r.timed},
            {"median_us", r.median_us},
            {"p10_us", r.p10_us},
            {"p90_us", r.p90_us},
            {"again_us", r.again_us},
            {"copies", r.copies},
            {"replays", r.replays},
            {"floor_us", r.floor_us},
            {"bytes", r.bytes},
            {"flops", r.flops},
            {"exact_flops", r.exact_flops},
            {"error", r.error}};
  if (!r.ran.empty()) json["ran"] = r.ran;
  if (!r.baseline.empty()) {
    json["baseline"] = r.baseline;
    json["ratio"] = r.ratio;
  }
  if (r.ratio_p90 > 0) {
    json["ratio_p10"] = r.ratio_p10;
    json["ratio_p90"] = r.ratio_p90;
  }
  return json;
}

}  // namespace

const std::vector<StampField>& stamp_fields() {
  static const std::vector<StampField> fields{
      {"tool", true},     {"commit", false}, {"kernel_hash", false}, {"date", false}, {"machine", true},
      {"device", true},   {"driver", true},  {"toolkit", true},      {"cudnn", true}, {"clocks", true},
      {"compiler", true}, {"threads", true}, {"peer", true}};
  return fields;
}

Stamp stamp_now(const std::string& tool, Device device, const std::string& commit,
                const std::string& kernel_hash) {
  Stamp stamp;
  for (const StampField& field : stamp_fields()) stamp.emplace_back(field.name, "");
  put(stamp, "tool", tool);
  put(stamp, "commit", commit);
  put(stamp, "kernel_hash", kernel_hash);
  put(stamp, "date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))));
  put(stamp, "machine", fmt::format("{}, {} processors", processor_name(), omp_get_num_procs()));
  put(stamp, "device", "cpu");
  put(stamp, "compiler", "gcc " __VERSION__);
  put(stamp, "threads", fmt::format("{}", omp_get_max_threads()));
  if (device == Device::cuda) put_device(stamp);
  return stamp;
}

std::string BenchRow::key() const {
  return fmt::format("{} {} {} {} {} {}", op, kernel, shape, dtype, state, timed);
}

double BenchRow::noise() const {
  const double spread = std::min((p90_us - p10_us) / 2, 3 * (median_us - p10_us)) / median_us;
  const double drift = again_us > 0 ? std::abs(again_us / median_us - 1) : 0;
  return std::max({spread, drift, least_noise});
}

const std::string& BenchRecord::stamped(const std::string& field) const {
  static const std::string none;
  for (const auto& [name, value] : stamp) {
    if (name == field) return value;
  }
  return none;
}

Json json_of(const BenchRecord& record) {
  Json stamp = Json::object(), rows = Json::array();
  for (const auto& [name, value] : record.stamp) stamp[name] = value;
  for (const BenchRow& row : record.rows) rows.push_back(json_of(row));
  return {{"format", format_name}, {"version", format_version}, {"stamp", stamp}, {"rows", rows}};
}

void write_record(const std::string& path, const BenchRecord& record) {
  write_file_atomically(path, json_of(record).dump(1) + "\n");
}

BenchRecord read_record(const std::string& path) {
  const nlohmann::json json = strict_json::read(path, most_bytes);
  const strict_json::Object top(json, "the record", path);
  if (top.text("format") != format_name || top.integer("version") != format_version) {
    strict_json::fail_file(
        path, fmt::format("it is no record of format {} version {}", format_name, format_version));
  }
  if (!top.has("stamp")) strict_json::fail_file(path, "'stamp' of the record is missing");
  const strict_json::Object stamp(json.at("stamp"), "the stamp", path);
  BenchRecord record;
  for (const StampField& field : stamp_fields())
    record.stamp.emplace_back(field.name, stamp.text(field.name));
  const nlohmann::json& rows = top.array("rows");
  if (rows.size() > most_rows)
    strict_json::fail_file(path, fmt::format("it has {} rows, over the cap of {}", rows.size(), most_rows));
  std::map<std::string, int> keys;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    record.rows.push_back(row_of({rows[i], fmt::format("row {}", i + 1), path}, path));
    if (keys[record.rows.back().key()]++ > 0)
      strict_json::fail_file(path, fmt::format("it has '{}' twice", record.rows.back().key()));
  }
  return record;
}

std::size_t BenchDiff::count(DiffRow::Verdict verdict) const {
  return static_cast<std::size_t>(
      std::count_if(rows.begin(), rows.end(), [&](const DiffRow& r) { return r.verdict == verdict; }));
}

BenchDiff diff_of(const BenchRecord& before, const BenchRecord& after) {
  BenchDiff diff;
  for (const StampField& field : stamp_fields()) {
    const std::string &a = before.stamped(field.name), &b = after.stamped(field.name);
    if (field.must_match && a != b)
      diff.differs.push_back(fmt::format("{} is '{}' and '{}'", field.name, a, b));
  }
  std::map<std::string, const BenchRow*> of_after;
  for (const BenchRow& row : after.rows) of_after[row.key()] = &row;
  for (const BenchRow& row : before.rows) {
    const auto found = of_after.find(row.key());
    if (found == of_after.end()) {
      diff.only_before.push_back(&row);
      continue;
    }
    DiffRow d{.before = &row, .after = found->second};
    d.ratio = d.after->median_us / row.median_us;
    d.band = std::max(row.noise(), d.after->noise());
    if (d.ratio > 1 + d.band) d.verdict = DiffRow::Verdict::slower;
    if (d.ratio < 1 / (1 + d.band)) d.verdict = DiffRow::Verdict::faster;
    diff.rows.push_back(d);
    of_after.erase(found);
  }
  for (const BenchRow& row : after.rows) {
    if (of_after.count(row.key()) > 0) diff.only_after.push_back(&row);
  }
  return diff;
}

}  // namespace fovea::bench
