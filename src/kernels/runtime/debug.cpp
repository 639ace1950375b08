// See debug.hpp. The payloads are quiet NaNs that no arithmetic makes by itself (hardware makes the canonical one),
// but arithmetic hands them on: a value computed from bytes that nobody wrote still shows it.
#include "kernels/runtime/debug.hpp"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/runtime/difference.hpp"
#include "kernels/runtime/host_bytes.hpp"
#include "kernels/runtime/red_zones.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

constexpr std::uint32_t poison_f32 = 0x7fdeadbe;
constexpr std::uint64_t poison_f64 = 0x7ffdeadbeefdeadb;
constexpr std::uint16_t poison_bf16 = 0x7fde;
constexpr unsigned char poison_byte = 0xee;
constexpr std::int64_t poison_i64 = static_cast<std::int64_t>(0xeeeeeeeeeeeeeeee);

enum class Verdict : std::uint8_t { fine, never_written, nan };

Verdict judge(float v) {
  if (!std::isnan(v)) return Verdict::fine;
  return std::bit_cast<std::uint32_t>(v) == poison_f32 ? Verdict::never_written : Verdict::nan;
}
Verdict judge(double v) {
  if (!std::isnan(v)) return Verdict::fine;
  return std::bit_cast<std::uint64_t>(v) == poison_f64 ? Verdict::never_written : Verdict::nan;
}
Verdict judge(simt::bf16 v) {
  if (!std::isnan(static_cast<float>(v))) return Verdict::fine;
  return v.bits == poison_bf16 ? Verdict::never_written : Verdict::nan;
}
Verdict judge(std::int64_t v) { return v == poison_i64 ? Verdict::never_written : Verdict::fine; }
Verdict judge(std::uint8_t) { return Verdict::fine; }

struct Finding {
  Verdict verdict = Verdict::fine;  // of the first bad element
  std::int64_t first = 0, count = 0;
};

Finding look_at(const View& view) {
  Finding finding;
  if (view.numel() == 0) return finding;
  const HostBytes host(view);
  visit_any(view.dtype, [&](auto zero) {
    const auto* values = host.view().as<decltype(zero)>();
    for (std::int64_t i = 0; i < view.numel(); ++i) {
      const Verdict verdict = judge(values[i]);
      if (verdict == Verdict::fine) continue;
      if (finding.count++ == 0) finding = {verdict, i, 1};
    }
  });
  return finding;
}

std::string where_text(const View& view, const Finding& finding) {
  const std::string first = index_text(view.shape, finding.first);
  if (finding.count == 1) return first;
  return fmt::format("{} and {} more of its {} elements", first, finding.count - 1, view.numel());
}

template <class T, class Bits>
void fill_pattern(const View& view, Bits bits) {
  const std::vector<T> values(static_cast<std::size_t>(view.numel()), std::bit_cast<T>(bits));
  copy(view, {const_cast<T*>(values.data()), view.shape, view.dtype, Device::cpu});
}

}  // namespace

void poison(const View& view) {
  switch (view.dtype) {
    case Dtype::f32:
      return fill_pattern<float>(view, poison_f32);
    case Dtype::f64:
      return fill_pattern<double>(view, poison_f64);
    case Dtype::bf16:
      return fill_pattern<simt::bf16>(view, poison_bf16);
    case Dtype::u8:
    case Dtype::i64:
      return fill_bytes(view, poison_byte);
  }
}

namespace {

bool overlap(const View& a, const View& b) {
  const auto *a0 = static_cast<const std::byte*>(a.data), *b0 = static_cast<const std::byte*>(b.data);
  return a0 < b0 + b.bytes() && b0 < a0 + a.bytes();
}

}  // namespace

DebugRun::DebugRun(const Primitive& primitive, const Kernel& kernel, const PortList& specs, Ports ports)
    : primitive_(primitive), kernel_(kernel), specs_(specs), ports_(ports) {
  check_red_zones(true);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!ports[i] || specs[i].role == Role::output || !is_floating(specs[i].dtype)) continue;
    const Finding finding = look_at(ports[i]);
    if (finding.verdict == Verdict::fine || !input_with_nan_.empty()) continue;
    input_with_nan_ = fmt::format("'{}' at {}", specs[i].name, where_text(ports[i], finding));
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!ports[i] || specs[i].role != Role::output || ports[i].numel() == 0) continue;
    bool in_place = false;
    for (std::size_t j = 0; j < specs.size(); ++j) {
      in_place |= ports[j] && specs[j].role != Role::output && overlap(ports[i], ports[j]);
    }
    if (!in_place) poison(ports[i]);
  }
}

void DebugRun::after_run() const {
  check_red_zones(false);
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (ports_[i] && specs_[i].role != Role::input) check_output(i);
  }
}

void DebugRun::fail_here(const std::string& what) const {
  fail(fmt::format("{}: {}", dispatch_text(primitive_, kernel_, specs_, ports_), what));
}

void DebugRun::check_red_zones(bool before) const {
  const char* const when = before ? "was overwritten before this kernel ran" : "was overwritten";
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (!ports_[i]) continue;
    if (const std::string damage = red_zone_damage(ports_[i]); !damage.empty()) {
      fail_here(fmt::format("memory outside port '{}' {}: {}", specs_[i].name, when, damage));
    }
  }
  if (const std::string damage = take_damage_of_freed(); !damage.empty()) {
    fail_here(fmt::format("memory outside a tensor freed by now {}: {}", when, damage));
  }
}

void DebugRun::check_output(std::size_t port) const {
  const View& view = ports_[port];
  const Finding finding = look_at(view);
  if (finding.verdict == Verdict::fine) return;
  const std::string where = where_text(view, finding);
  if (finding.verdict == Verdict::never_written) {
    fail_here(fmt::format("output '{}' was never written (or made from what never was) at {}",
                          specs_[port].name, where));
  }
  fail_here(fmt::format("output '{}' was computed as NaN at {}{}", specs_[port].name, where,
                        input_with_nan_.empty()
                            ? std::string("; no input held NaN")
                            : fmt::format("; its input {} already held NaN", input_with_nan_)));
}

}  // namespace fovea
