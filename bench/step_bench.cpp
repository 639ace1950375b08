// step_bench: one training step at a time, on request, so that a script can alternate it with a peer's.
//
//   step_bench MODEL [--batch 8] [--size 224] [--trace]            a model's whole step: forward, loss, backward, Adam;
//                                                                  any of the zoo by its name ("model": hm-vgg)
//   step_bench ham [--batch 8] [--size 56] [--channels 256]        HAM forward and backward alone
//   step_bench mlrm|head [--batch 8] [--size 14] [--channels 512]  as much of MLRM (training) and of the classifier head
//   step_bench --stamp                                             the stamp of a record of these (docs/bench.md), as JSON
//
// Prints "ready" after two warm-up steps. Then each line read from stdin runs one step and prints its
// seconds; at the end of the input it prints the peak of its memory in MiB (maximum resident set). --trace
// adds the time per kernel on stderr.
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <random>
#include <string>

#include "fovea_commit.hpp"
#include "fovea_kernel_hash.hpp"
#include "kernels/bench_record.hpp"
#include "kernels/measured_peaks.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/trace.hpp"
#include "models/zoo.hpp"
#include "nn/optimizer.hpp"

namespace {

using namespace fovea;

struct Options {
  std::string what;
  std::int64_t batch = 8, size = 224, channels = 256;
  bool trace = false;
};

Options parse(int argc, char** argv) {
  if (argc < 2) fail_usage("step_bench needs a model of the zoo, 'model', 'ham', 'mlrm' or 'head'");
  Options o;
  o.what = argv[1];
  if (o.what == "ham") o.size = 56;
  if (o.what == "mlrm" || o.what == "head") {
    o.size = 14;
    o.channels = 512;
  }
  for (int i = 2; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace") {
      o.trace = true;
      continue;
    }
    std::int64_t* value = flag == "--batch"      ? &o.batch
                          : flag == "--size"     ? &o.size
                          : flag == "--channels" ? &o.channels
                                                 : nullptr;
    if (value == nullptr || i + 1 == argc) fail_usage("step_bench does not know '" + flag + "'");
    *value = std::stoll(argv[++i]);
  }
  return o;
}

Tensor random(const Shape& shape, double scale = 1) {
  std::mt19937 generator(static_cast<unsigned>(shape.numel()));
  std::normal_distribution<float> normal(0.0f, static_cast<float>(scale));
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& v : values) v = normal(generator);
  return Tensor::from<float>(values, shape, Dtype::f32);
}

std::function<void()> model_step(const Options& o) {
  std::shared_ptr<Model> model = make_model({.name = o.what == "model" ? "hm-vgg" : o.what});
  auto optimizer = std::make_shared<Optimizer>(model->parameters(), OptimizerOptions{});
  const Tensor image = random({o.batch, o.size, o.size, 3});
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < o.batch; ++i) classes.push_back(i % 3);
  const Tensor labels = Tensor::from<std::int64_t>(classes, {o.batch}, Dtype::i64);
  return [=, step = std::uint64_t{0}]() mutable {
    optimizer->zero_grad();
    std::vector<AuxiliaryLogits> auxiliary;
    const Tensor logits = model->forward({{image}, {}}, {.step = step++, .auxiliary = &auxiliary});
    loss_of(logits, auxiliary, labels).backward();
    optimizer->step(1e-4);
  };
}

/// Forward and backward of one op, the gradients of all leaves included.
std::function<void()> op_step(std::vector<Tensor> leaves, const Tensor& dy,
                              const std::function<Tensor()>& forward) {
  for (Tensor& t : leaves) t.set_requires_grad(true);
  return [=]() mutable {
    for (Tensor& t : leaves) t.zero_grad();
    forward().backward(dy);
  };
}

std::function<void()> ham_step(const Options& o) {
  const std::int64_t c = o.channels, hidden = c / 16;
  const Tensor dy = random({o.batch, o.size, o.size, c}), x = random({o.batch, o.size, o.size, c});
  const HamParameters p{random({c}, 0.05),      random({1}, 0.05),         random({hidden, c}, 0.05),
                        random({hidden}, 0.05), random({c, hidden}, 0.05), random({c}, 0.05)};
  return op_step({x, p.spatial_weight, p.spatial_bias, p.fc1_weight, p.fc1_bias, p.fc2_weight, p.fc2_bias},
                 dy, [=] { return ham(x, p); });
}

std::function<void()> mlrm_step(const Options& o) {
  const std::int64_t c = o.channels;
  const Tensor dy = random({o.batch, o.size, o.size, c}), x = random({o.batch, o.size, o.size, c});
  std::vector<Tensor> leaves{x};
  std::vector<MlrmBranch> branches;
  for (const std::int64_t dilation : {1, 2, 4}) {
    branches.push_back({.weight = random({c, 3, 3, c}, 0.02),
                        .gamma = Tensor::full({c}, 1, Dtype::f32),
                        .beta = Tensor::zeros({c}, Dtype::f32),
                        .running_mean = Tensor::zeros({c}, Dtype::f32),
                        .running_var = Tensor::full({c}, 1, Dtype::f32),
                        .dilation = dilation});
    const MlrmBranch& b = branches.back();
    leaves.insert(leaves.end(), {b.weight, b.gamma, b.beta});
  }
  return op_step(std::move(leaves), dy, [=] { return mlrm(x, branches, {}); });
}

std::function<void()> head_step(const Options& o) {
  const std::int64_t c = o.channels, hidden = 64, classes = 3;
  const Shape image{o.batch, o.size, o.size, c};
  const Tensor m = random(image), r = random(image), dy = random({o.batch, classes});
  const HeadParameters p{random({c, c}, 0.02),           random({c}, 0.02),
                         random({hidden, c}, 0.05),      random({hidden}, 0.05),
                         random({classes, hidden}, 0.1), random({classes}, 0.1)};
  return op_step(
      {m, r, p.shortcut_weight, p.shortcut_bias, p.fc1_weight, p.fc1_bias, p.fc2_weight, p.fc2_bias}, dy,
      [=] { return head(m, r, p); });
}

std::function<void()> step_of(const Options& o) {
  if (o.what == "ham") return ham_step(o);
  if (o.what == "mlrm") return mlrm_step(o);
  return o.what == "head" ? head_step(o) : model_step(o);
}

int print_stamp() {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, value] : bench::stamp_now("peers", Device::cpu, FOVEA_COMMIT, FOVEA_KERNEL_HASH))
    json[name] = value;
  std::cout << json.dump() << std::endl;
  return 0;
}

double seconds(const std::function<void()>& step) {
  const auto begin = std::chrono::steady_clock::now();
  step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void print_trace(const TraceTotals& totals, double steps) {
  const Peaks peaks = measure_peaks(Device::cpu);
  fmt::print(stderr, "ceilings: {:.1f} GB/s copy, {:.0f} GFLOP/s matrix product\n",
             peaks.copy_bytes_per_s * 1e-9, peaks.flops_of(Dtype::f32) * 1e-9);
  for (const auto& [key, row] : totals.rows()) {
    fmt::print(stderr, "{:28} {:12} {:6.1f} calls {:9.3f} ms {:8.1f} GFLOP/s {:7.2f} GB/s\n", key.first,
               key.second, static_cast<double>(row.calls) / steps, row.self_seconds / steps * 1e3,
               row.flops / row.self_seconds * 1e-9, row.bytes / row.self_seconds * 1e-9);
  }
}

int run(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--stamp") return print_stamp();
  const Options o = parse(argc, argv);
  const auto step = step_of(o);
  step();
  step();
  std::cout << "ready" << std::endl;
  std::string line;
  double steps = 0;
  std::unique_ptr<TraceTotals> totals = o.trace ? std::make_unique<TraceTotals>() : nullptr;
  while (std::getline(std::cin, line)) {
    std::cout << fmt::format("{:.6f}", seconds(step)) << std::endl;
    ++steps;
  }
  if (totals && steps > 0) print_trace(*totals, steps);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "peak " << usage.ru_maxrss / 1024 << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "step_bench: " << error.what() << "\n";
    return 2;
  }
}
