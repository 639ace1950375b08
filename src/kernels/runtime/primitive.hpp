// Primitive, Kernel, dispatch(): everything that runs, runs through here.
//
// A primitive is defined once (its Problem checks shapes, its port list names the tensors, its Cost counts
// work) and has several kernels, rows of one constexpr table in order of preference. dispatch() checks the
// ports against the problem, chooses the row, runs it and reports it to the trace; so kernel choice, checks,
// traces and A/B runs exist once.
//
// A Problem is a trivially copyable struct with a member `Dtype dtype` and `void check() const`, which throws
// Error and is the only shape check there is.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/runtime/device.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea {

/// Least work of a Problem: nominal floating point operations, and bytes that any implementation must move.
struct Cost {
  double flops = 0;
  double bytes = 0;
};

enum class Role : std::uint8_t { input, output, update };  // update: read and written (running statistics)

struct PortSpec {
  const char* name = "";
  Role role = Role::input;
  Shape shape;
  Dtype dtype = Dtype::f32;
  bool optional = false;   // may be absent (a default View)
  bool addresses = false;  // holds addresses of tensors that are no ports, and what is done reaches those
};

/// The ports of a primitive for one problem, in the order in which kernels receive them.
class PortList {
 public:
  static constexpr std::size_t capacity = 40;
  PortList() = default;
  PortList(std::initializer_list<PortSpec> ports) {
    for (const PortSpec& p : ports) add(p);
  }
  void add(const PortSpec& port) {
    assert(size_ < capacity);
    ports_[size_++] = port;
  }
  std::size_t size() const { return size_; }
  const PortSpec& operator[](std::size_t i) const { return ports_[i]; }
  const PortSpec* begin() const { return ports_.data(); }
  const PortSpec* end() const { return ports_.data() + size_; }

 private:
  std::array<PortSpec, capacity> ports_;
  std::size_t size_ = 0;
};

/// The least bytes of a problem: every port touched once.
double bytes_of(const PortList& ports);

using Ports = std::span<const View>;

/// One implementation of a primitive. The problem is the primitive's Problem type; see kernel() below.
struct Kernel {
  const char* name;
  Backend backend;
  bool deterministic;
  bool (*supports)(const void* problem);
  void (*run)(const void* problem, Ports ports, Stream stream);
};

struct Primitive {
  const char* name;  // "conv2d.backward_data": the op, a dot, the direction
  void (*check)(const void* problem);
  PortList (*ports)(const void* problem);
  Cost (*cost)(const void* problem);
  Dtype (*dtype)(const void* problem);
  std::shared_ptr<const void> (*with_dtype)(const void* problem, Dtype dtype);  // a copy
  std::span<const Kernel> kernels;

  std::string_view op() const {
    const std::string_view whole(name);
    return whole.substr(0, whole.find('.'));
  }
};

/// A Primitive that remembers its Problem type.
template <class Problem>
struct PrimitiveOf : Primitive {
  using problem_type = Problem;
};

namespace detail {
template <class>
struct problem_of;
template <class P>
struct problem_of<void (*)(const P&, Ports, Stream)> {
  using type = P;
};
}  // namespace detail

/// A row of a kernel table: `kernel<&conv2d_forward_onednn, &onednn_supports>("onednn", Backend::onednn)`.
/// Run is void(const P&, Ports, Stream); Supports is bool(const P&).
template <auto Run, auto Supports>
constexpr Kernel kernel(const char* name, Backend backend, bool deterministic = true) {
  using P = typename detail::problem_of<decltype(Run)>::type;
  return {name, backend, deterministic,
          [](const void* problem) -> bool { return Supports(*static_cast<const P*>(problem)); },
          [](const void* problem, Ports ports, Stream stream) {
            Run(*static_cast<const P*>(problem), ports, stream);
          }};
}

template <class P>
constexpr bool supports_f32_f64(const P& problem) {
  return problem.dtype == Dtype::f32 || problem.dtype == Dtype::f64;
}
template <class P>
constexpr bool supports_f32(const P& problem) {
  return problem.dtype == Dtype::f32;
}

/// Declares functions of hand-written kernels, once for the host executor and once for a device.
#define FOVEA_IN_BOTH_WORLDS(...) \
  namespace on_host {             \
  __VA_ARGS__                     \
  }                               \
  namespace on_device {           \
  __VA_ARGS__                     \
  }
/// The two rows of a hand-written kernel, of functions that FOVEA_IN_BOTH_WORLDS declared. In a build without CUDA
/// the device is the emulated one, if any: it runs what the host executor runs, on memory of its own.
#if FOVEA_CUDA
#define FOVEA_CUDA_ROW(name, run, supports) kernel<&on_device::run, &on_device::supports>(name, Backend::cuda)
#else
#define FOVEA_CUDA_ROW(name, run, supports) kernel<&on_host::run, &on_host::supports>(name, Backend::cuda)
#endif
#define FOVEA_SIMT_ROW(name, run, supports) kernel<&on_host::run, &on_host::supports>(name, Backend::simt)

/// PortsOf is PortList(const P&), CostOf is Cost(const P&).
template <class P, auto PortsOf, auto CostOf>
constexpr PrimitiveOf<P> primitive(const char* name, std::span<const Kernel> kernels) {
  static_assert(std::is_trivially_copyable_v<P>, "a Problem is a plain struct");
  return {{name, [](const void* problem) { static_cast<const P*>(problem)->check(); },
           [](const void* problem) -> PortList { return PortsOf(*static_cast<const P*>(problem)); },
           [](const void* problem) -> Cost { return CostOf(*static_cast<const P*>(problem)); },
           [](const void* problem) -> Dtype { return static_cast<const P*>(problem)->dtype; },
           [](const void* problem, Dtype dtype) -> std::shared_ptr<const void> {
             const auto copy = std::make_shared<P>(*static_cast<const P*>(problem));
             copy->dtype = dtype;
             return copy;
           },
           kernels}};
}

/// Runs the primitive: checks the ports against the problem, chooses a kernel, traces it. Throws Error for a
/// port that does not fit, and for a forced kernel that does not support the problem.
void dispatch(const Primitive& primitive, const void* problem, Ports ports, Stream stream);

template <class P>
void dispatch(const PrimitiveOf<P>& primitive, const std::type_identity_t<P>& problem,
              std::initializer_list<View> ports, Stream stream = {}) {
  dispatch(static_cast<const Primitive&>(primitive), &problem, Ports(ports.begin(), ports.size()), stream);
}
template <class P>
void dispatch(const PrimitiveOf<P>& primitive, const std::type_identity_t<P>& problem, Ports ports,
              Stream stream = {}) {
  dispatch(static_cast<const Primitive&>(primitive), &problem, ports, stream);
}

// ---- choosing a kernel --------------------------------------------------------------------------

/// What the user asked for. Forced kernels win over the preferred backend, that over what was recorded as the fastest on
/// this device (kernel_record.hpp), that over table order.
class Selection {
 public:
  /// "ham.forward=fused", or "ham=fused" for every direction that has a kernel of that name. Throws
  /// UsageError for an unknown op or kernel, listing the known ones.
  void force(std::string_view assignment);
  /// The kernel of this name on whatever device the ports lie. Throws UsageError where there is none.
  void force(const Primitive& primitive, std::string_view kernel_name);
  void prefer(Backend backend);
  void clear();

  const Kernel& choose(const Primitive& primitive, const void* problem, Device device) const;
  /// Why choose() takes its kernel for this problem: "forced", "preferred backend", "fastest on record", "first in the
  /// table".
  std::string_view reason(const Primitive& primitive, const void* problem, Device device) const;
  std::vector<std::string> forced() const;  // as typed, for the record of a run
  /// The kernel that is forced for this primitive; empty where none is.
  std::string_view forced_for(const Primitive& primitive) const;

 private:
  std::vector<std::pair<std::string, std::string>> forced_;  // primitive name -> kernel name
  std::vector<std::string> assignments_;
  bool has_preferred_ = false;
  Backend preferred_ = Backend::reference;
};

Selection& selection();

/// Restores the selection at the end of a scope: for tests, gradient checks and benchmarks.
class SelectionScope {
 public:
  SelectionScope() : saved_(selection()) {}
  ~SelectionScope() { selection() = saved_; }
  SelectionScope(const SelectionScope&) = delete;
  SelectionScope& operator=(const SelectionScope&) = delete;

 private:
  Selection saved_;
};

}  // namespace fovea
