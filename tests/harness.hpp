// The harness: runs one kernel on one case with poisoned outputs and guard bands, and compares with the fp64
// reference.
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

namespace fovea::testing {

/// The ports of a case, filled: fp64 where floating.
inline cases::PortTensors make_ports(const cases::PrimitiveCase& c) {
  const auto problem = c.problem(Dtype::f64);
  const PortList specs = c.primitive->ports(problem.get());
  cases::PortTensors ports;
  std::uint64_t seed = 17;
  for (const PortSpec& spec : specs) {
    ++seed;
    const bool floating = is_floating(spec.dtype);
    ports.push_back(floating && spec.role != Role::output ? cases::random_tensor(spec.shape, seed, spec.dtype)
                                                          : Tensor::zeros(spec.shape, spec.dtype));
  }
  if (c.prepare) c.prepare(problem.get(), ports);
  return ports;
}

/// The same values as `dtype` can hold them: what a kernel of that dtype is given, for its reference in double.
inline cases::PortTensors rounded_to(const cases::PrimitiveCase& c, const cases::PortTensors& ports,
                                     Dtype dtype) {
  const auto problem = c.problem(dtype);
  const PortList specs = c.primitive->ports(problem.get());
  cases::PortTensors rounded = ports;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (ports[i]) rounded[i] = ports[i].to(specs[i].dtype).to(ports[i].dtype());
  }
  return rounded;
}

/// A buffer with guard bands of `margin` bytes on both sides.
class Guarded {
 public:
  static constexpr std::size_t margin = 256;
  static constexpr unsigned char band = 0xA5;

  Guarded(const Shape& shape, Dtype dtype)
      : shape_(shape),
        dtype_(dtype),
        storage_(std::make_unique<Storage>(shape.numel() * size_of(dtype) +
                                           2 * static_cast<std::int64_t>(margin))) {
    std::memset(storage_->data(), band, static_cast<std::size_t>(storage_->bytes()));
  }
  View view() const { return {bytes() + margin, shape_, dtype_, Device::cpu}; }
  bool intact() const {
    for (std::size_t i = 0; i < margin; ++i) {
      if (bytes()[i] != band || bytes()[static_cast<std::size_t>(storage_->bytes()) - 1 - i] != band)
        return false;
    }
    return true;
  }

 private:
  unsigned char* bytes() const { return static_cast<unsigned char*>(storage_->data()); }
  Shape shape_;
  Dtype dtype_;
  std::unique_ptr<Storage> storage_;
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
  std::vector<Guarded> buffers;
  std::vector<View> views;
  std::vector<Tensor> given;
  buffers.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!ports[i]) {
      views.emplace_back();
      given.emplace_back();
      continue;
    }
    buffers.emplace_back(specs[i].shape, specs[i].dtype);
    views.push_back(buffers.back().view());
    given.push_back(ports[i].to(specs[i].dtype));
    if (specs[i].role == Role::output) {
      poison(views.back());
    } else {
      std::memcpy(views.back().data, given.back().view().data,
                  static_cast<std::size_t>(views.back().bytes()));
    }
  }
  kernel.run(problem.get(), views, {});

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
