// See measured_peaks.hpp. Each rate is the best of several runs: a ceiling is what the machine can do, and everything
// that disturbs a run makes it slower.
#include "kernels/measured_peaks.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "kernels/cpu/onednn.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/launch.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/timing.hpp"

namespace fovea {
namespace {

/// Times runs, and keeps how much slower the usual one was than the best.
class Stopwatch {
 public:
  // Of at least five runs, and of as many as fit into the time: short ones find a moment in which nobody disturbs.
  double best_seconds(const std::function<void()>& run) {
    constexpr double enough_s = 0.25;
    run();
    std::vector<double> times;
    const double first = omp_get_wtime();
    while (times.size() < 5 || omp_get_wtime() - first < enough_s) {
      const double begin = omp_get_wtime();
      run();
      times.push_back(omp_get_wtime() - begin);
    }
    std::sort(times.begin(), times.end());
    keep(times.front(), times[times.size() / 2]);
    return times.front();
  }
  void keep(double best, double usual) { spread_ = std::max(spread_, usual / best - 1); }
  double spread() const { return spread_; }

 private:
  double spread_ = 0;
};

// Random numbers of any floating type, since products of constants cost less power, and so run faster than others:
// random bits, but for the exponents, which are all small. A block of them is repeated.
void fill_random(void* data, std::int64_t bytes, std::int64_t element) {
  constexpr std::int64_t block = std::int64_t{1} << 20;
  auto* const out = static_cast<unsigned char*>(data);
  std::mt19937 generator(1);
  for (std::int64_t at = 0; at < std::min(bytes, block); ++at) {
    const auto random = static_cast<unsigned char>(generator() >> 24);
    const std::int64_t in_element = at % element;
    out[at] = in_element == element - 1 ? static_cast<unsigned char>((random & 0x80) | 0x3d) : random;
  }
  for (std::int64_t at = block; at < bytes; at += block)
    std::memcpy(out + at, out, static_cast<std::size_t>(std::min(block, bytes - at)));
}

constexpr double most_spread = 0.25;  // of a quiet machine

// ---- the host -----------------------------------------------------------------------------------

constexpr std::int64_t array_bytes = std::int64_t{128} << 20;

double measure_copy(Stopwatch& watch) {
  Storage from(array_bytes), to(array_bytes);
  std::memset(from.data(), 1, static_cast<std::size_t>(array_bytes));
  const double seconds = watch.best_seconds([&] {
#pragma omp parallel
    {
      const std::int64_t part = array_bytes / omp_get_num_threads(), at = part * omp_get_thread_num();
      std::memcpy(static_cast<char*>(to.data()) + at, static_cast<char*>(from.data()) + at,
                  static_cast<std::size_t>(part));
    }
  });
  return 2.0 * static_cast<double>(array_bytes) / seconds;
}

double measure_triad(Stopwatch& watch) {
  const std::int64_t count = array_bytes / 2 / static_cast<std::int64_t>(sizeof(float));
  Storage sums(array_bytes / 2), first(array_bytes / 2), second(array_bytes / 2);
  float* const a = static_cast<float*>(sums.data());
  float* const b = static_cast<float*>(first.data());
  float* const c = static_cast<float*>(second.data());
  std::fill_n(b, count, 1.5f);
  std::fill_n(c, count, 0.25f);
  const double seconds = watch.best_seconds([&] {
#pragma omp parallel for simd
    for (std::int64_t i = 0; i < count; ++i) a[i] = b[i] + 3.0f * c[i];
  });
  return 1.5 * static_cast<double>(array_bytes) / seconds;
}

// By oneDNN, of square matrices: large enough for its best rate, small enough to be done in milliseconds; the second one
// in the layout that it asks for, as the filters of a convolution are.
double measure_product(Stopwatch& watch, dnnl::memory::data_type type, std::int64_t size) {
  using dnnl::memory;
  const memory::dims dims{size, size};
  const memory::desc plain(dims, type, memory::format_tag::ab), any(dims, type, memory::format_tag::any);
  const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(plain, any, plain), onednn::engine());
  const dnnl::matmul product(pd);
  const memory::desc weights = pd.weights_desc();
  Storage a(static_cast<std::int64_t>(plain.get_size())), c(a.bytes()),
      b(static_cast<std::int64_t>(weights.get_size()));
  const std::int64_t element = a.bytes() / (size * size);
  fill_random(a.data(), a.bytes(), element);
  fill_random(b.data(), b.bytes(), element);
  const double seconds = watch.best_seconds([&] {
    product.execute(onednn::stream(), {{DNNL_ARG_SRC, onednn::bind(plain, a.data())},
                                       {DNNL_ARG_WEIGHTS, onednn::bind(weights, b.data())},
                                       {DNNL_ARG_DST, onednn::bind(plain, c.data())}});
    onednn::stream().wait();
  });
  return 2.0 * static_cast<double>(size * size * size) / seconds;
}

bool has_bf16() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & wanted) == wanted;
}

// A register-blocked multiply-add on every thread, which dense products of f64 come near.
double measure_multiply_add(Stopwatch& watch) {
  constexpr int lanes = 128, rounds = 100000;
  double sink = 0;
  const double seconds = watch.best_seconds([&] {
#pragma omp parallel reduction(+ : sink)
    {
      alignas(64) double acc[lanes];
      for (int i = 0; i < lanes; ++i) acc[i] = i;
      for (int round = 0; round < rounds; ++round) {
#pragma omp simd
        for (int i = 0; i < lanes; ++i) acc[i] = acc[i] * 0.999 + 0.5;
      }
      for (const double a : acc) sink += a;
    }
  });
  const double flops = 2.0 * lanes * rounds * omp_get_max_threads() / seconds;
  return sink == 0.125 ? 0 : flops;  // uses the result, so that the loop stays
}

Peaks measure_host(Peaks peaks) {
  Stopwatch watch;
  peaks.copy_bytes_per_s = measure_copy(watch);
  peaks.triad_bytes_per_s = measure_triad(watch);
  const char* const by = "oneDNN matrix product";
  peaks.gemms.push_back({Dtype::f32, measure_product(watch, dnnl::memory::data_type::f32, 768), by});
  peaks.gemms.push_back({Dtype::f64, measure_multiply_add(watch), "multiply-add loop"});
  if (has_bf16())
    peaks.gemms.push_back({Dtype::bf16, measure_product(watch, dnnl::memory::data_type::bf16, 768), by});
  peaks.spread = watch.spread();
  return peaks;
}

// ---- a device -----------------------------------------------------------------------------------

/// Ports of one run, on the device, filled with small random numbers.
class DevicePorts {
 public:
  explicit DevicePorts(const PortList& specs) {
    for (const PortSpec& spec : specs) {
      if (spec.optional) {
        views_.emplace_back();
        continue;
      }
      storage_.push_back(std::make_unique<Storage>(spec.shape, spec.dtype, Device::cuda));
      views_.push_back({storage_.back()->data(), spec.shape, spec.dtype, Device::cuda});
      const View& view = views_.back();
      Storage values(spec.shape, spec.dtype, Device::cpu);
      fill_random(values.data(), values.bytes(), size_of(spec.dtype));
      copy(view, {values.data(), spec.shape, spec.dtype, Device::cpu});
    }
  }
  Ports get() const { return views_; }

 private:
  std::vector<std::unique_ptr<Storage>> storage_;
  std::vector<View> views_;
};

double seconds_of(Stopwatch& watch, const Kernel& kernel, const void* problem, Ports ports, int copies) {
  const auto run = [&](int) { launch(kernel, problem, ports, current_stream(Device::cuda)); };
  const Timing t = time_launches(Device::cuda, run, {.copies = copies, .replays = 10, .limit_s = 1});
  watch.keep(t.p10_us, t.median_us);
  return t.p10_us * 1e-6;
}

// The fastest kernel of the device for the product; nothing where none takes it.
void add_device_product(Stopwatch& watch, Peaks& peaks, Dtype dtype, std::int64_t size, int copies) {
  const LinearProblem problem{.dtype = dtype, .n = size, .in = size, .out = size};
  Peaks::Gemm best{dtype, 0, ""};
  const DevicePorts ports(linear_forward.ports(&problem));
  for (const Kernel& kernel : linear_forward.kernels) {
    if (device_of(kernel.backend) != Device::cuda || !kernel.supports(&problem)) continue;
    const double rate =
        linear_forward.cost(&problem).flops / seconds_of(watch, kernel, &problem, ports.get(), copies);
    if (rate > best.flops) best = {dtype, rate, fmt::format("linear.forward, kernel {}", kernel.name)};
  }
  if (best.flops > 0) peaks.gemms.push_back(best);
}

double measure_device_add(Stopwatch& watch, std::int64_t count, int copies) {
  const AddProblem problem{.dtype = Dtype::f32, .a = {count}, .b = {count}};
  const DevicePorts ports(add_forward.ports(&problem));
  const Kernel& kernel = selection().choose(add_forward, &problem, Device::cuda);
  return add_forward.cost(&problem).bytes / seconds_of(watch, kernel, &problem, ports.get(), copies);
}

Peaks measure_device(Peaks peaks) {
  Stopwatch watch;
  const bool emulated = !device_note().empty();
  const std::int64_t bytes = emulated ? std::int64_t{1} << 20 : std::int64_t{1} << 30;
  const std::int64_t size = emulated ? 32 : 8192;
  const int copies = emulated ? 1 : 8;
  peaks.copy_bytes_per_s = copy_ceiling(Device::cuda, static_cast<std::size_t>(bytes));
  peaks.triad_bytes_per_s =
      measure_device_add(watch, emulated ? std::int64_t{1} << 12 : bytes / 4, emulated ? 1 : copies);
  add_device_product(watch, peaks, Dtype::f32, size, copies);
  add_device_product(watch, peaks, Dtype::f64, emulated ? size : size / 4, copies);
  add_device_product(watch, peaks, Dtype::bf16, size, copies);
  peaks.spread = watch.spread();
  return peaks;
}

}  // namespace

Peaks machine_of_peaks(Device device) {
  Peaks peaks;
  peaks.threads = omp_get_max_threads();
  if (device == Device::cpu) {
    const dnnl_version_t* const version = dnnl_version();
    peaks.machine = processor_name();
    peaks.library = fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
  } else {
    peaks.machine = device_info().name;
    peaks.library = fmt::format("CUDA {}", cuda_version_text(device_info().runtime_version));
  }
  return peaks;
}

Peaks measure_peaks(Device device) {
  const Peaks here = machine_of_peaks(device);
  return device == Device::cpu ? measure_host(here) : measure_device(here);
}

Peaks peaks_of(Device device, bool again, void (*say)(const std::string&)) {
  const Peaks here = machine_of_peaks(device);
  if (cache_folder().empty()) fail("there is no folder to keep the ceilings in: set FOVEA_CACHE");
  const std::string path = peaks_path(here.machine, here.threads);
  if (!again) {
    std::string complaint;
    if (const std::optional<Peaks> kept = read_peaks(path, here, complaint)) return *kept;
    if (!complaint.empty()) say(complaint + "; measuring anew");
  }
  say(fmt::format("measuring the ceilings of {} with {} threads", here.machine, here.threads));
  const Peaks peaks = measure_peaks(device);
  if (peaks.spread > most_spread) {
    say(fmt::format(
        "the usual run took {:.0f} % longer than the best: this machine is busy, and the ceilings may be "
        "low; 'fovea peaks --measure' measures them again",
        100 * peaks.spread));
  }
  write_peaks(path, peaks);
  return peaks;
}

std::optional<Peaks> peaks_on_file(Device device, std::string& complaint) {
  const Peaks here = machine_of_peaks(device);
  if (cache_folder().empty()) return std::nullopt;
  return read_peaks(peaks_path(here.machine, here.threads), here, complaint);
}

}  // namespace fovea
