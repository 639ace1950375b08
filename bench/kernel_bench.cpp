// kernel_bench: every kernel of every primitive, against its floor and beside the baseline kernel, on Google Benchmark.
//
//   kernel_bench [--device cpu|cuda] [--only TEXT] [--kernel NAME] [--small | --cases]
//                [--json FILE] [--dtype bf16|f32] [--chosen] [--force OP=NAME] [--record] [--plans] [--tf32]
//                [--nondeterministic] [--workspace-limit SIZE] [--benchmark_filter=REGEX and Google Benchmark's other flags]
//
// At the shapes of docs/performance.md (shapes.hpp), --small at small ones, or --cases at all those that the tests have.
// Names are OP/KERNEL/SHAPE/DTYPE/STATE/TIMED, and with /again at the end the second time.
//
// Correct first: each kernel's outputs are compared with those of the CPU's default kernel on the same inputs; one that
// differs is reported and not timed. Then cold (the copies in a graph rotate over buffers of three times the second-level
// cache) and warm (one set of buffers). An iteration of Google Benchmark is one such measurement, of many replays, and its
// manual time the median run, read from events on a device; Google Benchmark filters, lists and reports. The floor is the
// longer of two: Cost's bytes at the rate of a plain copy, and its operations, those of padding taps left out, at that of a
// dense product in its type, both as measured on this machine and kept (fovea peaks). Every time is taken twice, the second after all others: the ratio of the two is the
// noise. The ratio of a row is its median over the baseline's in the same run: on a device the kernel of backend cudnn, on the
// CPU oneDNN's, else `composed`, else the reference.
//
// --chosen times what a dispatch would choose, as kernel "chosen", and with --force OP=NAME what it is forced to: such rows of
// two records compare whatever ran. --json FILE writes a record (kernels/bench_record.hpp).
//
// Kernels of backend cudnn measure their plans while their outputs are compared, before they are timed; --plans does
// only that. A kernel that launches a graph of its own (composed_graph) cannot be timed inside another: it is timed by
// plain launches between events, and so is, once more, the kernel `composed` beside it; the record says "launches" of those
// rows and "graph" of all others. Its first calls, which measure, capture and instantiate, are not timed.
//
// --record keeps the fastest kernel of every problem (cold) where the program looks for its defaults on this device
// (kernels/cuda/kernel_record_file.hpp); what stands there of other problems stays.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <random>

#include "fovea_commit.hpp"
#include "fovea_kernel_hash.hpp"
#include "harness.hpp"
#include "kernels/bench_record.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/cuda/kernel_record_file.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/measured_peaks.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/timing.hpp"
#include "shapes.hpp"

namespace fovea::bench {
namespace {

using cases::PrimitiveCase;

struct Options {
  Device device = Device::cpu;
  std::string only, kernel, json, dtype;
  bool small = false, cases = false, chosen = false, record = false, plans = false;
  PlanLimits limits;
};

// Whether it is a flag without a value.
bool take_switch(Options& o, const std::string& flag) {
  if (flag == "--small") return o.small = true;
  if (flag == "--cases") return o.cases = true;
  if (flag == "--chosen") return o.chosen = true;
  if (flag == "--record") return o.record = true;
  if (flag == "--plans") return o.plans = true;
  if (flag == "--tf32") return o.limits.tf32 = true;
  if (flag != "--nondeterministic") return false;
  o.limits.deterministic = false;
  return true;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (take_switch(o, flag)) continue;
    if (i + 1 == argc) fail_usage("kernel_bench: " + flag + " is not known, or lacks its value");
    const std::string value = argv[++i];
    if (flag == "--device") {
      o.device = parse_device(value);
    } else if (flag == "--only") {
      o.only = value;
    } else if (flag == "--kernel") {
      o.kernel = value;
    } else if (flag == "--dtype") {
      o.dtype = name_of(parse_dtype(value));
    } else if (flag == "--force") {
      selection().force(value);
    } else if (flag == "--json") {
      o.json = value;
    } else if (flag == "--workspace-limit") {
      o.limits.workspace = parse_bytes(value);
    } else {
      fail_usage("kernel_bench does not know " + flag);
    }
  }
  if (o.record && o.device != Device::cuda)
    fail_usage("kernel_bench: --record keeps what is the fastest on a device; give --device cuda with it");
  if (o.record && !o.kernel.empty())
    fail_usage("kernel_bench: --record keeps the fastest of all kernels; leave --kernel out");
  if (o.chosen && (o.record || !o.kernel.empty()))
    fail_usage("kernel_bench: --chosen times one kernel of each problem; leave --record and --kernel out");
  if (o.small && o.cases)
    fail_usage("kernel_bench: --small and --cases are two sets of shapes; give one of them");
  return o;
}

// ---- the ports of one run

using Tensors = std::vector<Tensor>;

Tensors random_ports(const PortList& specs) {
  Tensors ports;
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> unit(0.1f, 0.9f);
  for (const PortSpec& spec : specs) {
    std::vector<float> values(static_cast<std::size_t>(spec.shape.numel()));
    if (spec.role != Role::output) {
      // What is saved for the backward (gates, means) and what spreads lies between 0 and 1.
      const std::string_view name(spec.name);
      const bool saved = (name.size() == 1 && name != "x" && name != "m" && name != "r" && name != "w") ||
                         name.starts_with("invstd") || name.starts_with("running_var");
      for (float& v : values) v = saved ? unit(generator) : normal(generator) * 0.5f;
    }
    ports.push_back(Tensor::from<float>(std::span<const float>(values), spec.shape, spec.dtype));
  }
  return ports;
}

// A case of the tests fills its own, and may leave some out.
Tensors ports_of(const PrimitiveCase& c, Dtype dtype, bool is_case) {
  const PortList specs = c.primitive->ports(c.problem(dtype).get());
  if (!is_case) return random_ports(specs);
  Tensors ports = testing::make_ports(c);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (ports[i]) ports[i] = ports[i].to(specs[i].dtype);
  }
  return ports;
}

Tensor copy_of(const Tensor& t, Device device) {
  if (!t) return {};
  return device == Device::cpu ? t.clone() : t.to(device);
}

Tensors on_device(const Tensors& ports, Device device) {
  Tensors moved;
  for (const Tensor& t : ports) moved.push_back(copy_of(t, device));
  return moved;
}

std::vector<View> views_of(const Tensors& ports) {
  std::vector<View> views;
  for (const Tensor& t : ports) views.push_back(t.view());
  return views;
}

// ---- correctness

// The worst relative error of any output, against the CPU's default kernel in f32 on the same (rounded) inputs.
double error_of(const PrimitiveCase& c, const Kernel& kernel, const Tensors& ports, Dtype dtype,
                Device device) {
  const auto problem = c.problem(dtype), wide = c.problem(Dtype::f32);
  const PortList specs = c.primitive->ports(wide.get());
  Tensors expected, got = on_device(ports, device);
  for (std::size_t i = 0; i < ports.size(); ++i) {
    expected.push_back(ports[i] ? ports[i].to(specs[i].dtype).clone() : Tensor{});
  }
  const Kernel& trusted = selection().choose(*c.primitive, wide.get(), Device::cpu);
  trusted.run(wide.get(), views_of(expected), {});
  if (launches_graph(kernel)) {  // whose first call measures, so that it is the second that is captured
    const Tensors first = on_device(ports, device);
    launch(kernel, problem.get(), views_of(first), current_stream(device));
  }
  launch(kernel, problem.get(), views_of(got), current_stream(device));
  synchronize(device);
  double worst = 0;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (specs[i].role == Role::input || !ports[i]) continue;
    worst = std::max(worst, testing::relative_error(got[i].to_doubles(), expected[i].to_doubles()));
  }
  return worst;
}

// ---- timing

struct Candidate {
  const PrimitiveCase* shape;
  double exact_share;
  const Kernel* kernel;
  Dtype dtype;
  bool chosen;  // by the table, or forced
};

Timing time_kernel(const Candidate& c, const Tensors& ports, Device device, bool cold, bool launches,
                   std::int64_t cache_bytes) {
  const auto problem = c.shape->problem(c.dtype);
  std::int64_t bytes = 0;
  for (const Tensor& t : ports) bytes += t ? t.view().bytes() : 0;
  const int sets = cold ? static_cast<int>(std::clamp<std::int64_t>(
                              3 * cache_bytes / std::max<std::int64_t>(bytes, 1) + 1, 2, 20))
                        : 1;
  std::vector<Tensors> rotated;
  std::vector<std::vector<View>> views;
  for (int i = 0; i < sets; ++i) {
    rotated.push_back(on_device(ports, device));
    views.push_back(views_of(rotated.back()));
  }
  const auto run = [&](int i) {
    launch(*c.kernel, problem.get(), views[static_cast<std::size_t>(i % sets)], current_stream(device));
  };
  const TimingOptions options = device == Device::cpu
                                    ? TimingOptions{.copies = 2, .replays = 15, .warm_up = 1, .limit_s = 3}
                                    : TimingOptions{};
  return launches ? time_launches(device, run, options) : time_runs(device, run, options);
}

// Whether to time by launches: false and true one after the other. Only composed kernels that have a row as one graph
// beside them are timed in both ways.
std::vector<bool> ways_to_time(const Candidate& c) {
  if (launches_graph(*c.kernel)) return {true};
  const auto beside = [&](const Kernel& other) { return launches_graph(other); };
  const bool composed =
      c.kernel->backend == Backend::cudnn &&
      std::any_of(c.shape->primitive->kernels.begin(), c.shape->primitive->kernels.end(), beside);
  return composed ? std::vector<bool>{false, true} : std::vector<bool>{false};
}

// The shape's kernels that take part, in this dtype.
void add_candidates(const Options& o, const BenchShape& shape, Dtype dtype, std::vector<Candidate>& found) {
  const PrimitiveCase& c = shape.problem;
  const auto problem = c.problem(dtype);
  if (o.chosen) {
    const bool any = std::any_of(
        c.primitive->kernels.begin(), c.primitive->kernels.end(),
        [&](const Kernel& k) { return device_of(k.backend) == o.device && k.supports(problem.get()); });
    if (any) {
      found.push_back(
          {&c, shape.exact_share, &selection().choose(*c.primitive, problem.get(), o.device), dtype, true});
    }
    return;
  }
  for (const Kernel& kernel : c.primitive->kernels) {
    if (device_of(kernel.backend) != o.device || (!o.kernel.empty() && o.kernel != kernel.name)) continue;
    if (kernel.backend == Backend::simt && o.kernel.empty())
      continue;  // the host executor: a check, no way to compute
    if (o.plans && (kernel.backend != Backend::cudnn || launches_graph(kernel))) continue;
    if (kernel.supports(problem.get())) found.push_back({&c, shape.exact_share, &kernel, dtype, false});
  }
}

std::vector<Candidate> candidates(const Options& o, const std::vector<BenchShape>& all) {
  std::vector<Candidate> found;
  for (const BenchShape& shape : all) {
    if ((shape.problem.primitive->name + (" " + shape.problem.label)).find(o.only) == std::string::npos)
      continue;
    for (const Dtype dtype : {Dtype::bf16, Dtype::f32}) {
      if (o.dtype.empty() || o.dtype == name_of(dtype)) add_candidates(o, shape, dtype, found);
    }
  }
  return found;
}

void print_row(const BenchRow& r) {
  fmt::print(
      "{:25} {:14} {:17} {:5} {:5} {:8} {:10.2f} us [{:.2f}, {:.2f}] again {:.2f}  floor {:8.2f} us "
      "{:5.1f} %  {}error {:.1e}\n",
      r.op, r.ran.empty() ? r.kernel : r.ran, r.shape, r.dtype, r.state, r.timed, r.median_us, r.p10_us,
      r.p90_us, r.again_us, r.floor_us, 100 * r.floor_us / r.median_us,
      r.baseline.empty() ? "" : fmt::format("{:.2f}x {}  ", r.ratio, r.baseline), r.error);
}

// The winner of each problem, cold: rows of one problem have its primitive, dtype and bytes. A kernel that is timed in both
// ways counts as the others do, by its graph.
KernelRecord record_of(const std::vector<BenchRow>& rows, const std::string& device) {
  KernelRecord record;
  record.device = device;
  for (const BenchRow& r : rows) {
    if (r.state != "cold" || (r.timed == "launches" && r.kernel == "composed")) continue;
    const KernelRecord::Row candidate{r.op, r.dtype, r.kernel, r.bytes, r.median_us};
    const auto same = std::find_if(record.rows.begin(), record.rows.end(), [&](const KernelRecord::Row& o) {
      return o.primitive == r.op && o.dtype == r.dtype && o.bytes == r.bytes;
    });
    if (same == record.rows.end()) {
      record.rows.push_back(candidate);
    } else if (candidate.median_us < same->median_us) {
      *same = candidate;
    }
  }
  return record;
}

// ---- the baseline of a problem

// How strong a kernel is as a baseline; 0: none.
int strength(const Kernel& kernel, Device device) {
  if (device == Device::cuda) return kernel.backend == Backend::cudnn ? 1 : 0;
  if (kernel.backend == Backend::onednn) return 3;
  if (std::string_view(kernel.name) == "composed") return 2;
  return kernel.backend == Backend::reference ? 1 : 0;
}

// Among rows of one problem, state and way to time, the strongest that was timed (of equals the first).
void set_ratios(std::vector<std::pair<BenchRow, int>>& rows) {
  std::map<std::string, std::size_t> baselines;
  const auto problem_of = [](BenchRow r) {
    r.kernel.clear();
    return r.key();
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].second == 0) continue;
    const auto [at, is_new] = baselines.emplace(problem_of(rows[i].first), i);
    if (!is_new && rows[i].second > rows[at->second].second) at->second = i;
  }
  for (auto& [row, strength] : rows) {
    const auto found = baselines.find(problem_of(row));
    if (found == baselines.end()) continue;
    row.baseline = rows[found->second].first.kernel;
    row.ratio = row.median_us / rows[found->second].first.median_us;
  }
}

// ---- one run

class Run {
 public:
  explicit Run(const Options& o) : o_(o), on_cuda_(o.device == Device::cuda) {
    cache_ = on_cuda_ ? device_info().l2_bytes : std::int64_t{32} << 20;
    peaks_ =
        peaks_of(o.device, false, [](const std::string& sentence) { fmt::print(stderr, "{}\n", sentence); });
    if (on_cuda_) library::keep_copy_rate(peaks_.copy_bytes_per_s);
    fmt::print("{}; ceilings {:.1f} GB/s copy, {:.1f} TFLOP/s bf16, {:.1f} TFLOP/s f32\n",
               on_cuda_ ? to_string(device_info()) : peaks_.machine, peaks_.copy_bytes_per_s * 1e-9,
               peaks_.flops_of(Dtype::bf16) * 1e-12, peaks_.flops_of(Dtype::f32) * 1e-12);
    if (!o.cases) {
      shapes_ = shapes(o.small);
    } else {
      for (const PrimitiveCase& c : cases::primitive_cases()) shapes_.push_back({c});
    }
    found_ = candidates(o, shapes_);
  }

  bool any() const { return !found_.empty(); }
  bool wrong() const { return wrong_; }

  /// Compares all outputs, which is when kernels of backend cudnn measure their plans, and times nothing.
  void check_all() {
    for (const Candidate& c : found_) check(c, *ports_of_candidate(c));
  }

  /// Tells Google Benchmark of every candidate, and of each once more behind them all.
  void register_all() {
    for (const Candidate& c : found_) {
      auto job = std::make_shared<Job>(Job{.candidate = c, .ports = {}, .error = {}});
      for (const bool launches : ways_to_time(c)) {
        for (const bool cold : {true, false}) add(job, launches, cold);
      }
    }
    for (Timed& timed : timed_) {
      benchmark::RegisterBenchmark((name_of_row(timed.row) + "/again").c_str(),
                                   [this, &timed](benchmark::State& state) { run_again(timed, state); })
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kMicrosecond);
    }
  }

  /// What was timed, with the ratios.
  std::vector<BenchRow> rows() const {
    std::vector<std::pair<BenchRow, int>> rated;
    for (const Timed& t : timed_) {
      if (t.row.median_us > 0) rated.emplace_back(t.row, strength(*t.job->candidate.kernel, o_.device));
    }
    set_ratios(rated);
    std::vector<BenchRow> rows;
    for (auto& [row, strength] : rated) rows.push_back(std::move(row));
    return rows;
  }

 private:
  struct Job {
    Candidate candidate;
    std::shared_ptr<Tensors> ports;  // while it is timed
    std::optional<double> error;     // once outputs were compared
  };
  struct Timed {
    std::shared_ptr<Job> job;
    bool launches, cold;
    BenchRow row;
  };

  static std::string name_of_row(const BenchRow& r) {
    return fmt::format("{}/{}/{}/{}/{}/{}", r.op, r.kernel, r.shape, r.dtype, r.state, r.timed);
  }

  std::shared_ptr<Tensors> ports_of_candidate(const Candidate& c) const {
    return std::make_shared<Tensors>(ports_of(*c.shape, c.dtype, o_.cases));
  }

  // The error of its outputs, or that they are wrong: NaN then.
  double check(const Candidate& c, const Tensors& ports) {
    const double error = error_of(*c.shape, *c.kernel, ports, c.dtype, o_.device);
    const bool tf32 = o_.limits.tf32 && c.kernel->backend == Backend::cudnn;
    const double most = (c.dtype == Dtype::bf16 ? 2e-2
                         : tf32                 ? 5e-3
                                                : 1e-4) *
                            std::max(1.0, c.shape->tolerance) +
                        (c.dtype == Dtype::bf16 ? c.shape->bf16_error : 0);
    if (error <= most) return error;
    fmt::print("{} {} {} {}: WRONG, relative error {:.2e}; not timed\n", c.shape->primitive->name,
               c.kernel->name, c.shape->label, name_of(c.dtype), error);
    wrong_ = true;
    return std::nan("");
  }

  void add(const std::shared_ptr<Job>& job, bool launches, bool cold) {
    const Candidate& c = job->candidate;
    const Cost cost = c.shape->primitive->cost(c.shape->problem(c.dtype).get());
    const double exact = cost.flops * c.exact_share;
    Timed& timed = timed_.emplace_back(Timed{job, launches, cold, {}});
    BenchRow& row = timed.row;
    row.op = c.shape->primitive->name;
    row.kernel = c.chosen ? "chosen" : c.kernel->name;
    if (c.chosen) row.ran = c.kernel->name;
    row.shape = c.shape->label;
    row.dtype = name_of(c.dtype);
    row.state = cold ? "cold" : "warm";
    row.timed = launches ? "launches" : "graph";
    row.floor_us = peaks_.floor_seconds(c.dtype, exact, cost.bytes) * 1e6;
    row.bytes = cost.bytes;
    row.flops = cost.flops;
    row.exact_flops = exact;
    benchmark::RegisterBenchmark(name_of_row(row).c_str(),
                                 [this, &timed](benchmark::State& state) { run_first(timed, state); })
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMicrosecond);
  }

  // Ports are kept from one time to the next of the same candidate, and no longer.
  const Tensors& ports_for(const std::shared_ptr<Job>& job) {
    if (held_ != job) {
      if (held_) held_->ports.reset();
      held_ = job;
      job->ports = ports_of_candidate(job->candidate);
    }
    return *job->ports;
  }

  Timing measure(const Timed& timed) {
    const Tensors& ports = ports_for(timed.job);
    return time_kernel(timed.job->candidate, ports, o_.device, timed.cold, timed.launches, cache_);
  }

  void run_first(Timed& timed, benchmark::State& state) {
    Job& job = *timed.job;
    if (!job.error) job.error = check(job.candidate, ports_for(timed.job));
    if (std::isnan(*job.error)) return state.SkipWithError("its outputs are wrong");
    BenchRow& row = timed.row;
    row.error = *job.error;
    for ([[maybe_unused]] auto iteration : state) {
      const Timing t = measure(timed);
      row.median_us = t.median_us;
      row.p10_us = t.p10_us;
      row.p90_us = t.p90_us;
      row.copies = t.copies;
      row.replays = t.replays;
      state.SetIterationTime(t.median_us * 1e-6);
    }
    state.counters["of_floor"] = row.floor_us / row.median_us;
    state.counters["GB/s"] = row.bytes / row.median_us * 1e-3;
    state.counters["GFLOP/s"] = row.flops / row.median_us * 1e-3;
  }

  void run_again(Timed& timed, benchmark::State& state) {
    if (timed.job->error && std::isnan(*timed.job->error))
      return state.SkipWithError("its outputs are wrong");
    for ([[maybe_unused]] auto iteration : state) {
      timed.row.again_us = measure(timed).median_us;
      state.SetIterationTime(timed.row.again_us * 1e-6);
    }
  }

  const Options& o_;
  bool on_cuda_, wrong_ = false;
  std::int64_t cache_ = 0;
  Peaks peaks_;
  std::vector<BenchShape> shapes_;
  std::vector<Candidate> found_;
  std::deque<Timed> timed_;  // benchmarks hold references
  std::shared_ptr<Job> held_;
};

int measure_plans(Run& run) {
  if (!run.any()) {
    const std::string why = library::source().why_unusable();
    fail(why.empty() ? "kernel_bench: no kernel of backend cudnn matches" : why);
  }
  run.check_all();
  return run.wrong() ? 1 : 0;
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);  // takes its own flags
  const Options o = parse(argc, argv);
  set_plan_limits(o.limits);
  std::string why_not;
  if (o.device == Device::cuda && !cuda_available(&why_not)) fail(why_not);
  if (o.record)
    read_kernel_record(kernel_record_path(device_info().name), device_info().name);  // or stop now
  Run run(o);
  if (o.plans) return measure_plans(run);
  if (!run.any()) fail("kernel_bench: no kernel matches");
  run.register_all();
  benchmark::RunSpecifiedBenchmarks();
  const std::vector<BenchRow> rows = run.rows();
  for (const BenchRow& row : rows) print_row(row);
  if (o.record) {
    const std::string path = kernel_record_path(device_info().name);
    add_to_kernel_record(path, record_of(rows, device_info().name));
    fmt::print("record: {}\n", path);
  }
  if (!o.json.empty())
    write_record(o.json, {stamp_now("kernel_bench", o.device, FOVEA_COMMIT, FOVEA_KERNEL_HASH), rows});
  return run.wrong() ? 1 : 0;
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  try {
    return fovea::bench::run(argc, argv);
  } catch (const fovea::UsageError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernel_bench: {}\n", error.what());
    return 1;
  }
}
