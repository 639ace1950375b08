// The file of Peaks: JSON, one for each machine and number of threads. See peaks.hpp.
#include "kernels/runtime/peaks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/strict_json.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using strict_json::fail_file;
using strict_json::Object;

constexpr const char* format_name = "fovea peaks";
constexpr std::int64_t format_version = 1;
constexpr std::size_t most_bytes = std::size_t{1} << 16;
constexpr Dtype floating[] = {Dtype::f32, Dtype::f64, Dtype::bf16};

double positive(const Object& o, const char* key, const std::string& path) {
  const double value = o.number(key);
  if (value == 0) fail_file(path, fmt::format("'{}' is 0", key));
  return value;
}

Peaks::Gemm gemm_from(const json& value, const std::string& path) {
  const Object o(value, "a matrix product", path);
  const std::string name = o.text("dtype");
  const auto* dtype =
      std::find_if(std::begin(floating), std::end(floating), [&](Dtype d) { return name_of(d) == name; });
  if (dtype == std::end(floating)) fail_file(path, fmt::format("'{}' is no floating type", name));
  return {*dtype, positive(o, "flops_per_s", path), o.text("by")};
}

Peaks peaks_from(const json& whole, const std::string& path) {
  const Object o(whole, "the file", path);
  if (o.text("format") != format_name || o.integer("version") != format_version)
    fail_file(path, fmt::format("it is not version {} of '{}'", format_version, format_name));
  Peaks peaks;
  peaks.machine = o.text("machine");
  peaks.library = o.text("library");
  const std::int64_t threads = o.integer("threads");
  if (threads < 1 || threads > 65536) fail_file(path, fmt::format("it has {} threads", threads));
  peaks.threads = static_cast<int>(threads);
  peaks.copy_bytes_per_s = positive(o, "copy_bytes_per_s", path);
  peaks.triad_bytes_per_s = positive(o, "triad_bytes_per_s", path);
  peaks.spread = o.number("spread");
  for (const json& value : o.array("gemm")) peaks.gemms.push_back(gemm_from(value, path));
  const bool has_f32 = std::any_of(peaks.gemms.begin(), peaks.gemms.end(),
                                   [](const Peaks::Gemm& g) { return g.dtype == Dtype::f32; });
  if (!has_f32) fail_file(path, "it has no matrix product of f32");
  return peaks;
}

std::string what_differs(const Peaks& found, const Peaks& expected) {
  if (found.machine != expected.machine)
    return fmt::format("it is of '{}', and here is '{}'", found.machine, expected.machine);
  if (found.threads != expected.threads)
    return fmt::format("it is of {} threads, not {}", found.threads, expected.threads);
  if (found.library != expected.library)
    return fmt::format("it was measured with {}, and here is {}", found.library, expected.library);
  return {};
}

}  // namespace

double Peaks::flops_of(Dtype dtype) const {
  const auto of = [&](Dtype wanted) {
    const auto it =
        std::find_if(gemms.begin(), gemms.end(), [&](const Gemm& g) { return g.dtype == wanted; });
    return it == gemms.end() ? 0.0 : it->flops;
  };
  const double own = of(dtype);
  return own > 0 ? own : of(Dtype::f32);
}

double Peaks::floor_seconds(Dtype dtype, double flops, double bytes) const {
  return std::max(flops / flops_of(dtype), bytes / copy_bytes_per_s);
}

std::string peaks_path(const std::string& machine, int threads) {
  return fmt::format("{}/peaks-{}-{}.json", cache_folder(), file_name_of(machine), threads);
}

std::string peaks_json(const Peaks& peaks) {
  ordered_json gemms = ordered_json::array();
  for (const Peaks::Gemm& g : peaks.gemms)
    gemms.push_back({{"dtype", name_of(g.dtype)}, {"flops_per_s", g.flops}, {"by", g.by}});
  const ordered_json whole{{"format", format_name},
                           {"version", format_version},
                           {"machine", peaks.machine},
                           {"library", peaks.library},
                           {"threads", peaks.threads},
                           {"copy_bytes_per_s", peaks.copy_bytes_per_s},
                           {"triad_bytes_per_s", peaks.triad_bytes_per_s},
                           {"gemm", gemms},
                           {"spread", peaks.spread}};
  return whole.dump(2) + "\n";
}

std::optional<Peaks> read_peaks(const std::string& path, const Peaks& expected, std::string& complaint) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  try {
    const Peaks found = peaks_from(strict_json::read(path, most_bytes), path);
    const std::string difference = what_differs(found, expected);
    if (difference.empty()) return found;
    fail_file(path, difference);
  } catch (const Error& failure) {
    complaint = failure.what();
    return std::nullopt;
  }
}

void write_peaks(const std::string& path, const Peaks& peaks) {
  make_folder_of(path);
  write_file_atomically(path, peaks_json(peaks));
}

}  // namespace fovea
