// The harness: runs one kernel on one case with poisoned outputs and guard bands, and compares with the fp64
// reference. A kernel of a device runs there, on copies of the same bytes. Under AddressSanitizer the guard bands
// trap, reads included; kernels on the host executor have their ports watched under their names.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cases/case.hpp"
#include "kernels/primitives.hpp"
#include "kernels/runtime/launch.hpp"
#include "kernels/runtime/memory.hpp"
#include "simt/core.hpp"

extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(const volatile void*, std::size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, std::size_t);
}

namespace fovea::testing {

/// The ports of a case, filled: fp64 where floating.
inline cases::PortTensors make_ports(const cases::PrimitiveCase& c) {
  const auto problem = c.problem(Dtype::f64);
  const PortList specs = c.primitive->ports(problem.get());
  cases::PortTensors ports;
  std::uint64_t seed = 17;
  for (const PortSpec& spec : specs) {
    ++seed;
    ports.push_back(is_floating(spec.dtype) && spec.role != Role::output
                        ? cases::random_tensor(spec.shape, seed, spec.dtype)
                        : Tensor::zeros(spec.shape, spec.dtype));
  }
  if (c.prepare) c.prepare(problem.get(), ports);
  return ports;
}

/// The ports as a problem of this dtype holds them: rounded port by port, in fp64 again. The reference on these is
/// what a kernel in bf16 can be held to.
inline cases::PortTensors rounded_ports(const cases::PrimitiveCase& c, const cases::PortTensors& ports,
                                        Dtype dtype) {
  const PortList specs = c.primitive->ports(c.problem(dtype).get());
  cases::PortTensors rounded;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const bool changes = ports[i] && is_floating(specs[i].dtype) && specs[i].role != Role::output;
    rounded.push_back(changes ? ports[i].to(specs[i].dtype).to(Dtype::f64) : ports[i]);
  }
  return rounded;
}

/// A buffer with guard bands of `margin` bytes on both sides; for a kernel of a device also there.
class Guarded {
 public:
  static constexpr std::int64_t margin = 256;
  static constexpr unsigned char band = 0xA5;

  Guarded(const Shape& shape, Dtype dtype, Device device)
      : shape_(shape),
        dtype_(dtype),
        size_(shape.numel() * size_of(dtype)),
        storage_(std::make_unique<Storage>(size_ + 2 * margin)) {
    if (device != Device::cpu) on_device_ = std::make_unique<Storage>(storage_->bytes(), device);
    std::memset(bytes(), band, static_cast<std::size_t>(storage_->bytes()));
  }
  Guarded(Guarded&&) = default;
  ~Guarded() {
    if (storage_ != nullptr) open();
  }

  /// On the host.
  View view() const { return {bytes() + margin, shape_, dtype_, Device::cpu}; }
  /// What the kernel gets: closes the bands.
  View give() {
    if (on_device_ != nullptr) {
      copy(whole(*on_device_), whole(*storage_));
      return {static_cast<unsigned char*>(on_device_->data()) + margin, shape_, dtype_, on_device_->device()};
    }
    if (__asan_poison_memory_region != nullptr) {
      __asan_poison_memory_region(bytes(), margin);
      __asan_poison_memory_region(bytes() + margin + size_, margin);
    }
    return view();
  }
  /// After the run.
  void take_back() {
    if (on_device_ != nullptr) copy(whole(*storage_), whole(*on_device_));
    open();
  }
  bool intact() const {
    for (std::int64_t i = 0; i < margin; ++i) {
      if (bytes()[i] != band || bytes()[storage_->bytes() - 1 - i] != band) return false;
    }
    return true;
  }

 private:
  unsigned char* bytes() const { return static_cast<unsigned char*>(storage_->data()); }
  static View whole(const Storage& storage) {
    return {storage.data(), {storage.bytes()}, Dtype::u8, storage.device()};
  }
  void open() {
    if (__asan_unpoison_memory_region != nullptr)
      __asan_unpoison_memory_region(bytes(), static_cast<std::size_t>(storage_->bytes()));
  }

  Shape shape_;
  Dtype dtype_;
  std::int64_t size_;
  std::unique_ptr<Storage> storage_, on_device_;
};

/// Tells the executor's checker what the ports of a kernel are called, which hold values, and where they end: the guard
/// bands of Guarded lie on both sides.
class Watched {
 public:
  Watched(const Kernel& kernel, const PortList& specs, const std::vector<View>& views) {
    if (kernel.backend != Backend::simt) return;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (!views[i]) continue;
      const auto* data = static_cast<const unsigned char*>(views[i].data);
      const auto bytes = static_cast<std::size_t>(views[i].bytes());
      constexpr auto margin = static_cast<std::size_t>(Guarded::margin);
      simt::watch(data, bytes, specs[i].name, specs[i].role != Role::output);
      simt::watch_guard(data - margin, margin, specs[i].name);
      simt::watch_guard(data + bytes, margin, specs[i].name);
      watched_.push_back(views[i].data);  // which forgets its guards, too
    }
  }
  ~Watched() {
    for (const void* data : watched_) simt::unwatch(data);
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  std::vector<const void*> watched_;
};

struct KernelRun {
  std::vector<std::vector<double>> outputs;     // per port; empty for inputs and absent ports
  std::vector<std::vector<unsigned char>> raw;  // the same as bytes, for bitwise comparison
  std::string damage;                           // empty, or which guard band or input was written
};

/// Fills a buffer with what a kernel must overwrite: NaN in floating outputs, 0xEE elsewhere.
inline void poison(const View& view) {
  if (view.dtype == Dtype::f32) {
    std::fill_n(view.as<float>(), view.numel(), std::numeric_limits<float>::quiet_NaN());
  } else if (view.dtype == Dtype::f64) {
    std::fill_n(view.as<double>(), view.numel(), std::numeric_limits<double>::quiet_NaN());
  } else if (view.dtype == Dtype::bf16) {
    std::fill_n(view.as<simt::bf16>(), view.numel(), simt::bf16(std::numeric_limits<float>::quiet_NaN()));
  } else {
    std::memset(view.data, 0xEE, static_cast<std::size_t>(view.bytes()));
  }
}

inline KernelRun run_kernel(const cases::PrimitiveCase& c, const Kernel& kernel,
                            const cases::PortTensors& ports, Dtype dtype) {
  const auto problem = c.problem(dtype);
  const PortList specs = c.primitive->ports(problem.get());
  const Device device = device_of(kernel.backend);
  std::vector<Guarded> buffers;
  std::vector<View> views, given_views;  // on the host, and as the kernel gets them
  std::vector<Tensor> given;
  buffers.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!ports[i]) {
      views.emplace_back();
      given_views.emplace_back();
      given.emplace_back();
      continue;
    }
    buffers.emplace_back(specs[i].shape, specs[i].dtype, device);
    views.push_back(buffers.back().view());
    given.push_back(ports[i].to(specs[i].dtype));
    if (specs[i].role == Role::output) {
      poison(views.back());
    } else {
      std::memcpy(views.back().data, given.back().view().data,
                  static_cast<std::size_t>(views.back().bytes()));
    }
    given_views.push_back(buffers.back().give());
  }
  {
    const Watched watched(kernel, specs, given_views);
    launch(kernel, problem.get(), given_views, current_stream(device));
  }
  for (Guarded& b : buffers) b.take_back();

  KernelRun result;
  for (const Guarded& b : buffers) {
    if (!b.intact()) result.damage = "wrote outside a buffer";
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    result.outputs.emplace_back();
    result.raw.emplace_back();
    if (!views[i]) continue;
    const auto* bytes = static_cast<const unsigned char*>(views[i].data);
    if (specs[i].role == Role::input) {
      if (std::memcmp(bytes, given[i].view().data, static_cast<std::size_t>(views[i].bytes())) != 0) {
        result.damage = std::string("wrote to its input '") + specs[i].name + "'";
      }
      continue;
    }
    Tensor copy = Tensor::empty(views[i].shape, views[i].dtype);
    std::memcpy(copy.view().data, bytes, static_cast<std::size_t>(views[i].bytes()));
    result.outputs.back() = copy.to_doubles();
    result.raw.back().assign(bytes, bytes + views[i].bytes());
  }
  return result;
}

/// ||a - b|| / ||b|| over the whole array (infinite where either holds a NaN or Inf that the other does not,
/// or any NaN).
inline double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  if (norm == 0) return std::sqrt(difference) < 1e-30 ? 0 : std::sqrt(difference);
  return std::sqrt(difference / norm);
}

}  // namespace fovea::testing
