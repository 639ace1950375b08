// fovea kernels: every primitive, its kernels, which of them run here, and which one is taken by default.
//
// What a kernel supports depends on the problem; the cases of the tests stand for "problems", so the table
// says for how many of them, in f32, f64 and bf16, a kernel can be used. A name may have a row for the CPU and one
// for the device; the default is among the rows of the device asked for.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "cases/case.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/primitives.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

struct Row {
  const Primitive* primitive;
  const Kernel* kernel;
  bool available = false, is_default = false;
  std::string why, where;
};

struct Support {
  int cases = 0;
  std::array<int, 3> by_dtype{};  // of float_types
};

constexpr std::array float_types{Dtype::f32, Dtype::f64, Dtype::bf16};

Support support_of(const Primitive& primitive, const Kernel& kernel) {
  Support s;
  for (const cases::PrimitiveCase& c : cases::primitive_cases()) {
    if (c.primitive != &primitive) continue;
    ++s.cases;
    for (std::size_t i = 0; i < float_types.size(); ++i) {
      s.by_dtype[i] += kernel.supports(c.problem(float_types[i]).get());
    }
  }
  return s;
}

// "f32 only", "f32 and bf16, some problems only", or empty: f32 and f64 are what a kernel takes by default.
std::string limits(const Support& s) {
  std::vector<std::string_view> taken;
  for (std::size_t i = 0; i < float_types.size(); ++i) {
    if (s.by_dtype[i] > 0) taken.push_back(name_of(float_types[i]));
  }
  std::string text;
  if (taken.size() == 1) text = fmt::format("{} only", taken[0]);
  if (taken.size() > 1 && s.by_dtype[2] > 0) text = fmt::format("{}", fmt::join(taken, " and "));
  if (*std::max_element(s.by_dtype.begin(), s.by_dtype.end()) < s.cases) {
    text += text.empty() ? "some problems only" : ", some problems only";
  }
  return text;
}

// What dispatch() takes for the cases of this op: most of those in f32, else in f64. -1: nothing.
struct Default {
  std::ptrdiff_t row = -1;
  std::string_view reason;
};

Default default_of(const Primitive& primitive, Device device) {
  std::map<std::ptrdiff_t, std::map<std::string_view, int>>
      chosen;  // of each row, how often for which reason
  for (const Dtype dtype : float_types) {
    if (!chosen.empty()) break;
    for (const cases::PrimitiveCase& c : cases::primitive_cases()) {
      if (c.primitive != &primitive) continue;
      const auto problem = c.problem(dtype);
      try {
        const Kernel& k = selection().choose(primitive, problem.get(), device);
        ++chosen[&k - primitive.kernels.data()][selection().reason(primitive, problem.get(), device)];
      } catch (const Error&) {
        continue;  // a forced kernel, or a device without kernels for this op
      }
    }
  }
  Default most;
  int times = 0;
  for (const auto& [row, reasons] : chosen) {
    int all = 0;
    for (const auto& [reason, n] : reasons) all += n;
    if (all <= times) continue;
    times = all;
    const auto usual = std::max_element(reasons.begin(), reasons.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
    most = {row, usual->first};
  }
  return most;
}

// Why a row is the default, or where it stands beside it.
std::string reason_of(const std::vector<Row>& rows, std::ptrdiff_t row, const Default& taken, Device device) {
  const auto runs_here = [&](const Row& r) { return device_of(r.kernel->backend) == device; };
  if (row == taken.row) {
    const bool first = std::find_if(rows.begin(), rows.end(), runs_here) - rows.begin() == row;
    const bool passed = !first && taken.reason == "first in the table";
    return std::string(passed ? "first that takes most problems" : taken.reason);
  }
  const Row& here = rows[static_cast<std::size_t>(row)];
  if (!runs_here(here)) return fmt::format("runs on {}", name_of(device_of(here.kernel->backend)));
  if (taken.row < 0) return "";
  if (taken.reason == "fastest on record") return "not the fastest on record";
  if (row < taken.row) return "before it where it can be used";
  return fmt::format("after {}", rows[static_cast<std::size_t>(taken.row)].kernel->name);
}

std::vector<Row> rows_of(const Primitive& primitive, Device device) {
  std::vector<Row> rows;
  std::string why_not;
  const bool cuda = cuda_available(&why_not);
  for (const Kernel& k : primitive.kernels) {
    const bool available = device_of(k.backend) == Device::cpu || cuda;
    rows.push_back({&primitive, &k, available, false, available ? "" : why_not,
                    available && device_of(k.backend) == Device::cuda ? device_note() : ""});
  }
  const Default taken = default_of(primitive, device);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    const auto place = static_cast<std::ptrdiff_t>(i);
    row.is_default = place == taken.row;
    if (!row.available) continue;
    const std::string limit = limits(support_of(primitive, *row.kernel));
    const std::string reason = reason_of(rows, place, taken, device);
    std::vector<std::string_view> parts{reason, limit, row.where};
    std::erase(parts, "");
    row.why = fmt::format("{}", fmt::join(parts, "; "));
  }
  return rows;
}

// Of backend cudnn, the plans decide.
bool is_deterministic(const Kernel& kernel) {
  return kernel.deterministic && (kernel.backend != Backend::cudnn || plan_limits().deterministic);
}

void print_json(const std::vector<Row>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& r : rows) {
    list.push_back({{"op", r.primitive->name},
                    {"kernel", r.kernel->name},
                    {"backend", name_of(r.kernel->backend)},
                    {"deterministic", is_deterministic(*r.kernel)},
                    {"available", r.available},
                    {"default", r.is_default},
                    {"why", r.why}});
  }
  fmt::print("{}\n", list.dump(2));
}

void print_table(const std::vector<Row>& rows) {
  fmt::print("{:<30} {:<14} {:<10} {:<14} {:<6} {:<8} {}\n", "op", "kernel", "backend", "deterministic",
             "runs", "default", "why");
  const Primitive* before = nullptr;
  for (const Row& r : rows) {
    fmt::print("{:<30} {:<14} {:<10} {:<14} {:<6} {:<8} {}\n", r.primitive == before ? "" : r.primitive->name,
               r.kernel->name, name_of(r.kernel->backend), is_deterministic(*r.kernel) ? "yes" : "no",
               r.available ? "yes" : "no", r.is_default ? "*" : "", r.why);
    before = r.primitive;
  }
}

// "conv2d" or "conv2d.forward"; empty: all.
std::vector<const Primitive*> primitives_of(const std::string& op) {
  std::vector<const Primitive*> found;
  std::vector<std::string> names;
  for (const Primitive* p : all_primitives()) {
    if (op.empty() || op == p->name || op == p->op()) found.push_back(p);
    if (std::find(names.begin(), names.end(), p->op()) == names.end()) names.emplace_back(p->op());
    names.emplace_back(p->name);
  }
  if (found.empty()) fail_usage(fmt::format("there is no op '{}'{}", op, nearest_hint(op, names)));
  return found;
}

// ---- the ledger: every plan that was tried, of every device whose file lies in the cache

std::vector<PlanFile> plan_files() {
  namespace fs = std::filesystem;
  std::vector<std::string> paths;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(plan_folder(), error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("plans-") && name.ends_with(".json")) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<PlanFile> files;
  for (const std::string& path : paths) {
    try {
      files.push_back(PlanFile::read(path));
    } catch (const Error& failure) {
      fmt::print(stderr, "{}\n", failure.what());
    }
  }
  return files;
}

struct PlanRow {
  const PlanFile* file;
  const PlanEntry* entry;
  const PlanRecord* plan;  // null: the library has none
  bool chosen;
  double floor_share;  // 0: none
  std::string note;    // why it is not taken, or why there is none
};

std::vector<PlanRow> plan_rows(const std::vector<PlanFile>& files,
                               const std::vector<const Primitive*>& wanted) {
  std::vector<PlanRow> rows;
  for (const PlanFile& file : files) {
    for (const PlanEntry& entry : file.entries()) {
      const bool asked =
          std::any_of(wanted.begin(), wanted.end(), [&](const Primitive* p) { return entry.op == p->name; });
      if (!asked) continue;
      const std::optional<std::size_t> chosen = chosen_plan(entry, plan_limits());
      if (entry.plans.empty())
        rows.push_back({&file, &entry, nullptr, false, 0, "no plan: " + entry.refusal});
      const double rate = file.copy_bytes_per_s();
      const double floor = rate > 0 ? floor_us(entry, {.copy_bytes_per_s = rate}) : 0;
      for (std::size_t i = 0; i < entry.plans.size(); ++i) {
        const PlanRecord& plan = entry.plans[i];
        const std::string note =
            !plan.failure.empty() ? "failed: " + plan.failure : why_left_out(plan.info, plan_limits());
        rows.push_back(
            {&file, &entry, &plan, chosen == i, plan.time ? floor / plan.time->median_us : 0, note});
      }
    }
  }
  return rows;
}

void add_plan(nlohmann::ordered_json& row, const PlanRecord& plan) {
  row["engine"] = plan.info.engine;
  row["knobs"] = plan.info.knobs;
  row["workspace"] = plan.info.workspace;
  row["deterministic"] = plan.info.deterministic;
  row["tf32"] = plan.info.tf32;
  if (!plan.time) return;
  row["median_us"] = plan.time->median_us;
  row["p10_us"] = plan.time->p10_us;
  row["p90_us"] = plan.time->p90_us;
}

void print_plans_json(const std::vector<PlanRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const PlanRow& r : rows) {
    nlohmann::ordered_json row{{"device", r.file->header().device},
                               {"cudnn", r.file->header().cudnn},
                               {"cublaslt", r.file->header().cublaslt},
                               {"op", r.entry->op},
                               {"problem", r.entry->problem}};
    if (r.plan != nullptr) add_plan(row, *r.plan);
    if (r.floor_share > 0) row["floor_share"] = r.floor_share;
    row["chosen"] = r.chosen;
    row["pinned"] = r.plan != nullptr && r.plan->pinned;
    row["note"] = r.note;
    list.push_back(row);
  }
  fmt::print("{}\n", list.dump(2));
}

void print_plans_table(const std::vector<PlanRow>& rows) {
  const PlanFile* file = nullptr;
  const PlanEntry* entry = nullptr;
  for (const PlanRow& r : rows) {
    if (r.file != file) {
      fmt::print("{}, cuDNN {}, cublasLt {} ({})\n", r.file->header().device, r.file->header().cudnn,
                 r.file->header().cublaslt, r.file->path());
      file = r.file;
    }
    if (r.entry != entry) fmt::print("\n{}: {}\n", r.entry->op, r.entry->problem);
    entry = r.entry;
    if (r.plan == nullptr) {
      fmt::print("{}\n", r.note);
      continue;
    }
    const std::string time = r.plan->time ? fmt::format("{:.2f} us [{:.2f}, {:.2f}]", r.plan->time->median_us,
                                                        r.plan->time->p10_us, r.plan->time->p90_us)
                                          : "-";
    fmt::print("{:1} {:14} {:>12} {:>30} {:>7}  {}{}{}\n",
               r.plan->pinned ? "p"
               : r.chosen     ? "*"
                              : "",
               r.plan->info.engine, bytes_text(r.plan->info.workspace), time,
               r.floor_share > 0 ? fmt::format("{:.1f} %", 100 * r.floor_share) : "-", r.plan->info.knobs,
               r.note.empty() ? "" : "; ", r.note);
  }
}

// Exit 0 with or without plans; a word on stderr where there are none.
void print_plans(const std::string& op, bool json) {
  const std::vector<PlanFile> files = plan_files();
  const std::vector<PlanRow> rows = plan_rows(files, primitives_of(op));
  if (json) {
    print_plans_json(rows);
  } else {
    print_plans_table(rows);
  }
  if (rows.empty()) {
    fmt::print(stderr,
               "no plans in {}: kernels of backend cudnn measure theirs the first time they meet a problem\n",
               plan_folder());
  }
}

}  // namespace

int command_kernels(const Arguments& arguments) {
  CommandLine line(
      "kernels", "Every primitive, its kernels, which of them run here, and which is the default and why.",
      "  fovea kernels\n"
      "  fovea kernels conv2d --json\n"
      "  fovea kernels ham --backend reference    what a preferred backend changes\n"
      "  fovea kernels conv2d --plans             the plans of cuDNN and cublasLt, and what they took\n");
  std::string op;
  bool plans = false;
  line.positional("op", op, "an op (conv2d) or a primitive (conv2d.forward)");
  line.flag("--plans", plans, "instead, every plan of cuDNN and cublasLt that was tried: * taken, p pinned");
  if (!line.parse(arguments)) return exit_done;
  RunConfig config = line.config();
  apply_to_process(config, DeviceUse::single_kernels);
  if (plans) {
    print_plans(op, line.json());
    return exit_done;
  }
  std::vector<Row> rows;
  for (const Primitive* p : primitives_of(op)) {
    const std::vector<Row> more = rows_of(*p, parse_device(config.device));
    rows.insert(rows.end(), more.begin(), more.end());
  }
  if (line.json()) {
    print_json(rows);
  } else {
    print_table(rows);
  }
  return exit_done;
}

}  // namespace fovea
