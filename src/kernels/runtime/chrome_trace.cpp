// See chrome_trace.hpp.
#include "kernels/runtime/chrome_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/runtime/atomic_file.hpp"

namespace fovea {
namespace {

constexpr std::string_view head = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
constexpr std::string_view tail = "\n]}\n";

std::string_view name_of(RangeKind kind) {
  switch (kind) {
    case RangeKind::step:
      return "step";
    case RangeKind::data:
      return "data";
    case RangeKind::forward:
      return "forward";
    case RangeKind::backward:
      return "backward";
    case RangeKind::optimizer:
      return "optimizer";
    case RangeKind::layer:
      return "layer";
  }
  return "";
}

// Names of layers and primitives are plain, but a model's are free to hold a quote.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += fmt::format("\\{}", c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string arguments_of(const ProfileEvent& event) {
  if (event.primitive == nullptr) return fmt::format("{{\"step\":{}}}", event.step);
  const double gflops = event.self_seconds > 0 ? event.self_cost.flops / event.self_seconds * 1e-9 : 0;
  const double gbytes = event.self_seconds > 0 ? event.self_cost.bytes / event.self_seconds * 1e-9 : 0;
  return fmt::format(
      "{{\"kernel\":{},\"layer\":{},\"shape\":{},\"dtype\":{},\"self_us\":{:.3f},\"GFLOP/s\":{:.2f},"
      "\"GB/s\":{:.2f}}}",
      quoted(event.kernel->name), quoted(event.name), quoted(shapes_text(event)),
      quoted(fovea::name_of(event.dtype)), event.self_seconds * 1e6, gflops, gbytes);
}

// Nanoseconds as microseconds.
std::string micros(std::int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

std::string text_of(const ProfileEvent& event, double origin_s) {
  const auto begin = static_cast<std::int64_t>(std::llround((event.begin_s - origin_s) * 1e9));
  const auto end = static_cast<std::int64_t>(std::llround((event.begin_s + event.seconds - origin_s) * 1e9));
  const bool range = event.primitive == nullptr;
  return fmt::format(
      "{{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{},\"dur\":{},\"name\":{},\"cat\":\"{}\",\"args\":{}}}",
      micros(begin), micros(end - begin), quoted(range ? event.name : event.primitive->name),
      range ? name_of(event.kind) : "kernel", arguments_of(event));
}

// What a device ran: on a line of its own, under the kernel whose it was.
std::string text_of(const DeviceWork& work, const std::vector<ProfileEvent>& events, double origin_s) {
  const auto begin = std::max<std::int64_t>(0, std::llround((work.begin_s - origin_s) * 1e9));
  const std::string op =
      work.dispatch < 0 ? std::string("{}")
                        : fmt::format("{{\"op\":{},\"kernel\":{}}}",
                                      quoted(events[static_cast<std::size_t>(work.dispatch)].primitive->name),
                                      quoted(events[static_cast<std::size_t>(work.dispatch)].kernel->name));
  return fmt::format(
      "{{\"ph\":\"X\",\"pid\":1,\"tid\":2,\"ts\":{},\"dur\":{},\"name\":{},\"cat\":\"device\",\"args\":{}}}",
      micros(begin), micros(std::llround(work.seconds * 1e9)), quoted(work.name), op);
}

/// One of the two.
struct Traced {
  double begin_s;
  int depth;
  const ProfileEvent* event;
  const DeviceWork* work;
};

// As they began, what is around others first.
std::vector<Traced> in_order(const Profile& profile) {
  std::vector<Traced> order;
  order.reserve(profile.events().size() + profile.device_work().size());
  for (const ProfileEvent& event : profile.events())
    order.push_back({event.begin_s, event.depth, &event, nullptr});
  for (const DeviceWork& work : profile.device_work())
    order.push_back({work.begin_s, 1 << 20, nullptr, &work});
  std::stable_sort(order.begin(), order.end(), [](const Traced& a, const Traced& b) {
    return a.begin_s != b.begin_s ? a.begin_s < b.begin_s : a.depth < b.depth;
  });
  return order;
}

}  // namespace

ChromeTraceSize write_chrome_trace(const std::string& path, const Profile& profile, std::int64_t most_bytes) {
  const std::vector<Traced> all = in_order(profile);
  ChromeTraceSize size;
  write_file_atomically(path, [&](AtomicFile& file) {
    std::string part(head);
    std::int64_t bytes = static_cast<std::int64_t>(head.size() + tail.size());
    for (const Traced& one : all) {
      const double origin_s = all.front().begin_s;
      const std::string text = (size.written > 0 ? ",\n" : "") +
                               (one.event != nullptr ? text_of(*one.event, origin_s)
                                                     : text_of(*one.work, profile.events(), origin_s));
      bytes += static_cast<std::int64_t>(text.size());
      if (bytes > most_bytes) break;
      part += text;
      ++size.written;
      if (part.size() < (1u << 20)) continue;
      file.write(part);
      part.clear();
    }
    part += tail;
    file.write(part);
  });
  size.left_out = static_cast<std::int64_t>(all.size()) - size.written;
  return size;
}

}  // namespace fovea
