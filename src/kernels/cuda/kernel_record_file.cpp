// See kernel_record_file.hpp.
#include "kernels/cuda/kernel_record_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "kernels/cuda/plan_cache.hpp"
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

constexpr const char* format_name = "fovea kernels";
constexpr std::int64_t format_version = 1;
constexpr std::size_t most_bytes = std::size_t{4} << 20;

KernelRecord::Row row_from(const json& value, std::size_t index, const std::string& path) {
  const Object o(value, fmt::format("row {}", index), path);
  KernelRecord::Row row{o.text("primitive"), o.text("dtype"), o.text("kernel"), o.number("bytes"),
                        o.number("median_us")};
  if (row.bytes == 0 || row.median_us == 0)
    fail_file(path, fmt::format("row {} has no size or no time", index));
  return row;
}

bool same_problem(const KernelRecord::Row& a, const KernelRecord::Row& b) {
  return a.primitive == b.primitive && a.dtype == b.dtype && a.bytes == b.bytes;
}

std::string text_of(const KernelRecord& record) {
  ordered_json rows = ordered_json::array();
  for (const KernelRecord::Row& r : record.rows) {
    rows.push_back({{"primitive", r.primitive},
                    {"dtype", r.dtype},
                    {"bytes", r.bytes},
                    {"kernel", r.kernel},
                    {"median_us", r.median_us}});
  }
  const ordered_json whole{
      {"format", format_name}, {"version", format_version}, {"device", record.device}, {"rows", rows}};
  return whole.dump(1) + "\n";
}

}  // namespace

std::string kernel_record_path(const std::string& device) {
  return fmt::format("{}/kernels-{}.json", plan_folder(), file_name_of(device));
}

KernelRecord read_kernel_record(const std::string& path, const std::string& device) {
  KernelRecord record;
  record.device = device;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return record;
  const json whole = strict_json::read(path, most_bytes);
  const Object o(whole, "the file", path);
  if (o.text("format") != format_name || o.integer("version") != format_version) {
    fail_file(path, fmt::format("it is not version {} of '{}'", format_version, format_name));
  }
  if (o.text("device") != device)
    fail_file(path, fmt::format("it is of {}, and here is {}", o.text("device"), device));
  for (const json& value : o.array("rows")) {
    const KernelRecord::Row row = row_from(value, record.rows.size(), path);
    const bool twice = std::any_of(record.rows.begin(), record.rows.end(),
                                   [&](const KernelRecord::Row& r) { return same_problem(r, row); });
    if (twice)
      fail_file(path, fmt::format("row {} is of the same problem as one before", record.rows.size()));
    record.rows.push_back(row);
  }
  record.sort();
  return record;
}

void add_to_kernel_record(const std::string& path, const KernelRecord& record) {
  make_folder_of(path);
  AtomicFile out(path);  // locks out other writers from here on
  KernelRecord whole = read_kernel_record(path, record.device);
  for (const KernelRecord::Row& row : record.rows) {
    std::erase_if(whole.rows, [&](const KernelRecord::Row& r) { return same_problem(r, row); });
    whole.rows.push_back(row);
  }
  whole.sort();
  out.write(text_of(whole));
  out.commit();
}

void load_kernel_record(const std::string& device, std::string& complaint) {
  try {
    set_kernel_record(read_kernel_record(kernel_record_path(device), device));
  } catch (const Error& error) {
    complaint = fmt::format("{}; kernels are chosen by the order of their tables", error.what());
  }
}

}  // namespace fovea
