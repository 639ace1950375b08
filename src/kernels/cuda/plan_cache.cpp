// See plan_cache.hpp.
#include "kernels/cuda/plan_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/strict_json.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using strict_json::fail_file;
using strict_json::Object;

constexpr const char* format_name = "fovea plans";
constexpr std::int64_t format_version = 1;

PlanLimits limits_of_process;

bool same_plan(const PlanInfo& a, const PlanInfo& b) { return a.engine == b.engine && a.knobs == b.knobs; }

std::string plan_name(const PlanInfo& p) { return p.knobs.empty() ? p.engine : p.engine + " " + p.knobs; }

const PlanRecord* pinned_of(const PlanEntry& entry) {
  const auto it =
      std::find_if(entry.plans.begin(), entry.plans.end(), [](const PlanRecord& p) { return p.pinned; });
  return it == entry.plans.end() ? nullptr : &*it;
}

bool is_unmeasured(const PlanRecord& plan, const PlanLimits& limits) {
  return !plan.time && plan.failure.empty() && why_left_out(plan.info, limits).empty();
}

// The user pins and unpins in the file; another process may have measured what this one has not.
PlanEntry with_what_lies_there(PlanEntry entry, const PlanEntry& there) {
  for (PlanRecord& plan : entry.plans) plan.pinned = false;
  for (const PlanRecord& other : there.plans) {
    const auto mine = std::find_if(entry.plans.begin(), entry.plans.end(),
                                   [&](const PlanRecord& p) { return same_plan(p.info, other.info); });
    if (mine == entry.plans.end()) {
      if (other.pinned) entry.plans.push_back(other);
      continue;
    }
    mine->pinned = other.pinned;
    if (!mine->time && mine->failure.empty()) {
      mine->time = other.time;
      mine->failure = other.failure;
    }
  }
  return entry;
}

// ---- JSON

PlanRecord plan_from(const json& value, const std::string& where, const std::string& path) {
  const Object o(value, where, path);
  PlanRecord plan;
  plan.info.engine = o.text("engine");
  plan.info.knobs = o.text("knobs");
  plan.info.workspace = o.integer("workspace");
  plan.info.deterministic = o.flag("deterministic");
  plan.info.tf32 = o.flag("tf32");
  plan.info.approximate = o.flag("approximate");
  plan.failure = o.text_or("failure", "");
  plan.pinned = o.has("pinned") && o.flag("pinned");
  if (o.has("median_us")) {
    plan.time = PlanTime{o.number("median_us"), o.number("p10_us"), o.number("p90_us")};
    if (plan.time->median_us == 0) fail_file(path, fmt::format("'median_us' of {} is 0", where));
  }
  return plan;
}

PlanEntry entry_from(const json& value, std::size_t index, const std::string& path) {
  const std::string where = fmt::format("problem {}", index);
  const Object o(value, where, path);
  PlanEntry entry;
  entry.op = o.text("op");
  entry.problem = o.text("problem");
  entry.flops = o.number("flops");
  entry.bytes = o.number("bytes");
  entry.refusal = o.text_or("refusal", "");
  std::set<std::pair<std::string, std::string>> seen;
  for (const json& plan : o.array("plans")) {
    entry.plans.push_back(plan_from(plan, fmt::format("plan {} of {}", entry.plans.size(), where), path));
    const PlanInfo& info = entry.plans.back().info;
    if (!seen.emplace(info.engine, info.knobs).second) {
      fail_file(path, fmt::format("{} has plan '{}' twice", where, plan_name(info)));
    }
  }
  return entry;
}

ordered_json json_of_plan(const PlanRecord& p) {
  ordered_json o{{"engine", p.info.engine},       {"knobs", p.info.knobs},
                 {"workspace", p.info.workspace}, {"deterministic", p.info.deterministic},
                 {"tf32", p.info.tf32},           {"approximate", p.info.approximate}};
  if (p.time) {
    o["median_us"] = p.time->median_us;
    o["p10_us"] = p.time->p10_us;
    o["p90_us"] = p.time->p90_us;
  }
  if (!p.failure.empty()) o["failure"] = p.failure;
  if (p.pinned) o["pinned"] = true;
  return o;
}

std::string json_of(const PlanFile& file) {
  ordered_json problems = ordered_json::array();
  for (const PlanEntry& e : file.entries()) {
    ordered_json plans = ordered_json::array();
    for (const PlanRecord& plan : e.plans) plans.push_back(json_of_plan(plan));
    problems.push_back(
        {{"op", e.op}, {"problem", e.problem}, {"flops", e.flops}, {"bytes", e.bytes}, {"plans", plans}});
    if (!e.refusal.empty()) problems.back()["refusal"] = e.refusal;
  }
  ordered_json whole{{"format", format_name},
                     {"version", format_version},
                     {"device", file.header().device},
                     {"cudnn", file.header().cudnn},
                     {"cublaslt", file.header().cublaslt}};
  if (file.copy_bytes_per_s() > 0) whole["copy_bytes_per_s"] = file.copy_bytes_per_s();
  whole["problems"] = problems;
  return whole.dump(1);
}

}  // namespace

const PlanLimits& plan_limits() { return limits_of_process; }
void set_plan_limits(const PlanLimits& limits) { limits_of_process = limits; }

std::string why_left_out(const PlanInfo& plan, const PlanLimits& limits) {
  if (plan.workspace > limits.workspace)
    return fmt::format("needs {} of workspace", bytes_text(plan.workspace));
  if (limits.deterministic && !plan.deterministic) return "not deterministic";
  if (plan.tf32 && !limits.tf32) return "TF32";
  return plan.approximate ? "approximate" : "";
}

std::optional<std::size_t> chosen_plan(const PlanEntry& entry, const PlanLimits& limits) {
  if (const PlanRecord* pinned = pinned_of(entry))
    return static_cast<std::size_t>(pinned - entry.plans.data());
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < entry.plans.size(); ++i) {
    const PlanRecord& plan = entry.plans[i];
    if (!plan.time || !plan.failure.empty() || !why_left_out(plan.info, limits).empty()) continue;
    if (!best || plan.time->median_us < entry.plans[*best].time->median_us) best = i;
  }
  return best;
}

bool must_measure(const PlanEntry& entry, const PlanLimits& limits) {
  if (pinned_of(entry) != nullptr) return false;
  return std::any_of(entry.plans.begin(), entry.plans.end(),
                     [&](const PlanRecord& p) { return is_unmeasured(p, limits); });
}

std::exception_ptr measure_plans(PlanEntry& entry, const PlanLimits& limits, PlanTimer& timer) {
  std::exception_ptr passing;
  for (std::size_t i = 0; i < entry.plans.size(); ++i) {
    PlanRecord& plan = entry.plans[i];
    if (!is_unmeasured(plan, limits)) continue;
    bool runs = false;
    try {
      timer.try_out(i);
      runs = true;
      plan.time = timer.time(i);
    } catch (const OutOfMemory&) {
      passing = std::current_exception();
    } catch (const Error& error) {
      timer.check_device();
      if (!runs) plan.failure = error.what();
      if (runs) passing = std::current_exception();
    }
  }
  return passing;
}

PlanEntry with_plans(PlanEntry entry, std::span<const PlanInfo> offered) {
  std::vector<PlanRecord> now;
  for (const PlanInfo& info : offered) {
    PlanRecord plan{info, {}, "", false};
    for (const PlanRecord& before : entry.plans) {
      if (!same_plan(before.info, info)) continue;
      plan = before;
      plan.info = info;
    }
    now.push_back(std::move(plan));
  }
  if (const PlanRecord* pinned = pinned_of(entry)) {
    const bool there = std::any_of(now.begin(), now.end(), [](const PlanRecord& p) { return p.pinned; });
    if (!there) {
      fail(fmt::format("{}: the pinned plan '{}' is not offered by this library; unpin it in the plan cache",
                       entry.op, plan_name(pinned->info)));
    }
  }
  if (!now.empty()) entry.refusal.clear();
  entry.plans = std::move(now);
  return entry;
}

PlanFile::PlanFile(std::string path, PlanFileHeader header)
    : path_(std::move(path)), header_(std::move(header)) {
  load(false);
}

PlanFile PlanFile::read(const std::string& path) {
  PlanFile file;
  file.path_ = path;
  file.load(true);
  return file;
}

PlanFile PlanFile::open(const std::string& path, const PlanFileHeader& header, std::string& complaint) {
  try {
    return {path, header};
  } catch (const Error& error) {
    std::error_code ignored;
    std::filesystem::rename(path, path + ".bad", ignored);
    complaint = fmt::format("{}; it is kept as {}.bad, and plans are measured anew", error.what(), path);
  }
  PlanFile empty;
  empty.path_ = path;
  empty.header_ = header;
  return empty;
}

void PlanFile::load(bool any_header) {
  std::error_code error;
  if (!std::filesystem::exists(path_, error)) return;
  const json whole = strict_json::read(path_, most_bytes);
  const Object o(whole, "the file", path_);
  if (o.text("format") != format_name)
    fail_file(path_, fmt::format("its format is '{}', not '{}'", o.text("format"), format_name));
  if (const std::int64_t version = o.integer("version"); version != format_version) {
    fail_file(path_,
              fmt::format("its format has version {}, and this program reads {}", version, format_version));
  }
  const PlanFileHeader found{o.text("device"), o.text("cudnn"), o.text("cublaslt")};
  if (any_header) {
    header_ = found;
  } else if (found != header_) {
    fail_file(path_, fmt::format("it is of {} with cuDNN {} and cublasLt {}, and here are {}, {} and {}",
                                 found.device, found.cudnn, found.cublaslt, header_.device, header_.cudnn,
                                 header_.cublaslt));
  }
  if (o.has("copy_bytes_per_s")) copy_bytes_per_s_ = o.number("copy_bytes_per_s");
  for (const json& value : o.array("problems")) {
    PlanEntry entry = entry_from(value, entries_.size(), path_);
    if (find(entry.op, entry.problem) != nullptr) {
      fail_file(path_, fmt::format("problem '{}' of {} is in it twice", entry.problem, entry.op));
    }
    entries_.push_back(std::move(entry));
  }
}

const PlanEntry* PlanFile::find(std::string_view op, std::string_view problem) const {
  const auto it = std::find_if(entries_.begin(), entries_.end(),
                               [&](const PlanEntry& e) { return e.op == op && e.problem == problem; });
  return it == entries_.end() ? nullptr : &*it;
}

void PlanFile::put(const PlanEntry& entry) {
  put_.push_back(entry);
  const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const PlanEntry& e) {
    return e.op == entry.op && e.problem == entry.problem;
  });
  if (it == entries_.end()) {
    entries_.push_back(entry);
  } else {
    *it = entry;
  }
}

std::string PlanFile::reload() {
  std::string complaint;
  PlanFile now = open(path_, header_, complaint);
  if (!complaint.empty()) put_ = entries_;  // nothing of what is known here is on the disk any more
  for (const PlanEntry& entry : put_) {
    const PlanEntry* there = now.find(entry.op, entry.problem);
    now.put(there == nullptr ? entry : with_what_lies_there(entry, *there));
  }
  if (copy_bytes_per_s_ > 0) now.copy_bytes_per_s_ = copy_bytes_per_s_;
  *this = std::move(now);
  return complaint;
}

std::string PlanFile::save() {
  make_folder_of(path_);
  AtomicFile out(path_);  // locks out other writers from here on
  std::string complaint = reload();
  out.write(json_of(*this) + "\n");
  out.commit();
  put_.clear();
  return complaint;
}

double floor_us(const PlanEntry& entry, const DeviceRates& rates) {
  const bool bf16 = entry.problem.find("bf16") != std::string::npos;
  const double moving = rates.copy_bytes_per_s > 0 ? entry.bytes / rates.copy_bytes_per_s : 0;
  return 1e6 * std::max(moving, entry.flops / (bf16 ? rates.bf16_flops : rates.f32_flops));
}

std::string plan_folder() {
  if (const std::string named = environment("FOVEA_PLAN_CACHE"); !named.empty()) return named;
  if (const std::string folder = cache_folder(); !folder.empty()) return folder;
  fail("there is no folder for the plan cache: set FOVEA_PLAN_CACHE");
}

std::string plan_path(const PlanFileHeader& header) {
  return fmt::format("{}/plans-{}-cudnn-{}-cublaslt-{}.json", plan_folder(), file_name_of(header.device),
                     file_name_of(header.cudnn), file_name_of(header.cublaslt));
}

}  // namespace fovea
