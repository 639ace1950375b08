// kernel_bench: every kernel of every primitive at the shapes of docs/performance.md, against its floor.
//
//   kernel_bench [--device cpu|cuda] [--only TEXT] [--kernel NAME] [--small] [--tflops N] [--tflops-f32 N] [--json FILE]
//                [--dtype bf16|f32] [--record] [--plans] [--tf32] [--nondeterministic] [--workspace-limit SIZE]
//
// Correct first: each kernel's outputs are compared with those of the CPU's default kernel on the same inputs; one that
// differs is reported and not timed. Then cold (the copies in a graph rotate over buffers of three times the second-level
// cache) and warm (one set of buffers). The floor is the longer of two: Cost's bytes at the ceiling that a plain copy
// reaches in this very run, and its operations, those of padding taps left out, at the rate that --tflops gives for bf16
// (790, a dense product of cuBLAS on an H200) and --tflops-f32 for f32 (67, the multiply-adds of an H200). Every time is
// taken twice, the second after all others: the ratio of the two is the noise.
//
// Kernels of backend cudnn measure their plans while their outputs are compared, before they are timed; --plans does
// only that. A kernel that launches a graph of its own (composed_graph) cannot be timed inside another: it is timed by
// plain launches between events, and so is, once more, the kernel `composed` beside it; the record says "launches" of those
// rows and "graph" of all others. Its first calls, which measure, capture and instantiate, are not timed.
//
// --record keeps the fastest kernel of every problem (cold) where the program looks for its defaults on this device
// (kernels/cuda/kernel_record_file.hpp); what stands there of other problems stays.
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "harness.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/cuda/kernel_record_file.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/cuda/plan_cache.hpp"
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
  double tflops = 790, tflops_f32 = 67;
  bool small = false, record = false, plans = false;
  PlanLimits limits;
};

// Whether it is a flag without a value.
bool take_switch(Options& o, const std::string& flag) {
  if (flag == "--small") return o.small = true;
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
    } else if (flag == "--tflops") {
      o.tflops = std::stod(value);
    } else if (flag == "--tflops-f32") {
      o.tflops_f32 = std::stod(value);
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

Tensors on_device(const Tensors& ports, Device device) {
  Tensors moved;
  for (const Tensor& t : ports) moved.push_back(device == Device::cpu ? t.clone() : t.to(device));
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
  for (std::size_t i = 0; i < ports.size(); ++i) expected.push_back(ports[i].to(specs[i].dtype).clone());
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
    if (specs[i].role == Role::input) continue;
    worst = std::max(worst, testing::relative_error(got[i].to_doubles(), expected[i].to_doubles()));
  }
  return worst;
}

// ---- timing

struct Row {
  std::string primitive, kernel, shape, dtype, state, timed;  // cold or warm; by a graph or by launches
  Timing timing;
  double again_us = 0, floor_us = 0, bytes = 0, flops = 0, exact_flops = 0, error = 0;
};

struct Candidate {
  const PrimitiveCase* shape;
  double exact_share;
  const Kernel* kernel;
  Dtype dtype;
};

Timing time_kernel(const Candidate& c, const Tensors& ports, Device device, bool cold, bool launches,
                   std::int64_t cache_bytes) {
  const auto problem = c.shape->problem(c.dtype);
  std::int64_t bytes = 0;
  for (const Tensor& t : ports) bytes += t.view().bytes();
  const int sets = cold ? static_cast<int>(std::clamp<std::int64_t>(3 * cache_bytes / bytes + 1, 2, 20)) : 1;
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

std::vector<Candidate> candidates(const Options& o, const std::vector<BenchShape>& all) {
  std::vector<Candidate> found;
  for (const BenchShape& shape : all) {
    const PrimitiveCase& c = shape.problem;
    if ((c.primitive->name + (" " + c.label)).find(o.only) == std::string::npos) continue;
    for (const Kernel& kernel : c.primitive->kernels) {
      if (device_of(kernel.backend) != o.device || (!o.kernel.empty() && o.kernel != kernel.name)) continue;
      if (o.plans && (kernel.backend != Backend::cudnn || launches_graph(kernel))) continue;
      for (const Dtype dtype : {Dtype::bf16, Dtype::f32}) {
        if (!o.dtype.empty() && o.dtype != name_of(dtype)) continue;
        if (kernel.supports(c.problem(dtype).get())) found.push_back({&c, shape.exact_share, &kernel, dtype});
      }
    }
  }
  return found;
}

nlohmann::ordered_json json_of(const Row& r) {
  return {{"primitive", r.primitive},
          {"kernel", r.kernel},
          {"shape", r.shape},
          {"dtype", r.dtype},
          {"state", r.state},
          {"timed", r.timed},
          {"median_us", r.timing.median_us},
          {"p10_us", r.timing.p10_us},
          {"p90_us", r.timing.p90_us},
          {"again_us", r.again_us},
          {"copies", r.timing.copies},
          {"replays", r.timing.replays},
          {"floor_us", r.floor_us},
          {"floor_share", r.floor_us / r.timing.median_us},
          {"bytes", r.bytes},
          {"flops", r.flops},
          {"exact_flops", r.exact_flops},
          {"error", r.error}};
}

void print_row(const Row& r) {
  fmt::print(
      "{:25} {:14} {:17} {:5} {:5} {:8} {:10.2f} us [{:.2f}, {:.2f}] again {:.2f}  floor {:8.2f} us "
      "{:5.1f} %  error {:.1e}\n",
      r.primitive, r.kernel, r.shape, r.dtype, r.state, r.timed, r.timing.median_us, r.timing.p10_us,
      r.timing.p90_us, r.again_us, r.floor_us, 100 * r.floor_us / r.timing.median_us, r.error);
}

// The winner of each problem, cold: rows of one problem have its primitive, dtype and bytes. A kernel that is timed in both
// ways counts as the others do, by its graph.
KernelRecord record_of(const std::vector<Row>& rows, const std::string& device) {
  KernelRecord record;
  record.device = device;
  for (const Row& r : rows) {
    if (r.state != "cold" || (r.timed == "launches" && r.kernel == "composed")) continue;
    const KernelRecord::Row candidate{r.primitive, r.dtype, r.kernel, r.bytes, r.timing.median_us};
    const auto same = std::find_if(record.rows.begin(), record.rows.end(), [&](const KernelRecord::Row& o) {
      return o.primitive == r.primitive && o.dtype == r.dtype && o.bytes == r.bytes;
    });
    if (same == record.rows.end()) {
      record.rows.push_back(candidate);
    } else if (candidate.median_us < same->median_us) {
      *same = candidate;
    }
  }
  return record;
}

int run(int argc, char** argv) {
  const Options o = parse(argc, argv);
  set_plan_limits(o.limits);
  std::string why_not;
  if (o.device == Device::cuda && !cuda_available(&why_not)) fail(why_not);
  const bool on_cuda = o.device == Device::cuda;
  const std::int64_t cache = on_cuda ? device_info().l2_bytes : std::int64_t{32} << 20;
  const double ceiling = copy_ceiling(o.device, on_cuda ? std::size_t{1} << 30 : std::size_t{64} << 20);
  if (on_cuda) library::keep_copy_rate(ceiling);
  if (o.record)
    read_kernel_record(kernel_record_path(device_info().name), device_info().name);  // or stop now
  const std::string machine = on_cuda ? to_string(device_info()) : "cpu";
  fmt::print("{}; copy ceiling {:.1f} GB/s\n", machine, ceiling * 1e-9);

  const std::vector<BenchShape> all = shapes(o.small);
  std::vector<Row> rows;
  std::vector<std::function<double()>> again;
  bool wrong = false;
  for (const Candidate& c : candidates(o, all)) {
    const auto problem = c.shape->problem(c.dtype);
    auto ports = std::make_shared<Tensors>(random_ports(c.shape->primitive->ports(problem.get())));
    const double error = error_of(*c.shape, *c.kernel, *ports, c.dtype, o.device);
    const bool tf32 = o.limits.tf32 && c.kernel->backend == Backend::cudnn;
    if (!(error <= (c.dtype == Dtype::bf16 ? 2e-2 : tf32 ? 5e-3 : 1e-4))) {
      fmt::print("{} {} {} {}: WRONG, relative error {:.2e}; not timed\n", c.shape->primitive->name,
                 c.kernel->name, c.shape->label, name_of(c.dtype), error);
      wrong = true;
      continue;
    }
    if (o.plans) continue;
    const Cost cost = c.shape->primitive->cost(problem.get());
    const double exact = cost.flops * c.exact_share, rate = c.dtype == Dtype::bf16 ? o.tflops : o.tflops_f32;
    const double floor_us = std::max(cost.bytes / ceiling * 1e6, on_cuda ? exact / rate * 1e-6 : 0);
    for (const bool launches : ways_to_time(c)) {
      for (const bool cold : {true, false}) {
        const auto measure = [=] { return time_kernel(c, *ports, o.device, cold, launches, cache); };
        rows.push_back({c.shape->primitive->name, c.kernel->name, c.shape->label,
                        std::string(name_of(c.dtype)), cold ? "cold" : "warm",
                        launches ? "launches" : "graph", measure(), 0, floor_us, cost.bytes, cost.flops,
                        exact, error});
        again.emplace_back([measure] { return measure().median_us; });
      }
    }
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].again_us = again[i]();
    print_row(rows[i]);
  }
  if (o.plans && candidates(o, all).empty()) {
    const std::string why = library::source().why_unusable();
    fail(why.empty() ? "kernel_bench: no kernel of backend cudnn matches" : why);
  }
  if (o.plans) return wrong ? 1 : 0;
  if (rows.empty() && !wrong) fail("kernel_bench: no kernel matches");
  if (o.record) {
    const std::string path = kernel_record_path(device_info().name);
    add_to_kernel_record(path, record_of(rows, device_info().name));
    fmt::print("record: {}\n", path);
  }
  if (!o.json.empty()) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Row& r : rows) list.push_back(json_of(r));
    std::ofstream(o.json)
        << nlohmann::ordered_json{{"device", machine}, {"copy_bytes_per_s", ceiling}, {"rows", list}}.dump(1)
        << "\n";
  }
  return wrong ? 1 : 0;
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
