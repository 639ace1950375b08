// step_bench: one training step at a time, on request, so that a script can alternate it with a peer's.
//
//   step_bench MODEL [--batch 8] [--size 224] [--trace]            a model's whole step: forward, loss, backward, Adam;
//                                                                  any of the zoo by its name ("model": hm-vgg)
//   step_bench ham [--batch 8] [--size 56] [--channels 256]        HAM forward and backward alone
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
  if (argc < 2) fail_usage("step_bench needs a model of the zoo, 'model' or 'ham'");
  Options o;
  o.what = argv[1];
  if (o.what == "ham") o.size = 56;
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

std::function<void()> ham_step(const Options& o) {
  const std::int64_t c = o.channels, hidden = c / 16;
  const Tensor dy = random({o.batch, o.size, o.size, c});
  Tensor x = random({o.batch, o.size, o.size, c});
  HamParameters p{random({c}, 0.05),      random({1}, 0.05),         random({hidden, c}, 0.05),
                  random({hidden}, 0.05), random({c, hidden}, 0.05), random({c}, 0.05)};
  std::vector<Tensor> leaves{x,          p.spatial_weight, p.spatial_bias, p.fc1_weight,
                             p.fc1_bias, p.fc2_weight,     p.fc2_bias};
  for (Tensor& t : leaves) t.set_requires_grad(true);
  return [=]() mutable {
    for (Tensor& t : leaves) t.zero_grad();
    ham(x, p).backward(dy);
  };
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
  const Options o = parse(argc, argv);
  const auto step = o.what == "ham" ? ham_step(o) : model_step(o);
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
