// Copies, fills, totals and the text of OutOfMemory. The limit itself is kept by Storage. See memory.hpp.
#include "kernels/runtime/memory.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "kernels/runtime/device_api.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kib = 1 << 10, mib = 1 << 20, gib = 1 << 30;

}  // namespace

void copy(const View& to, const View& from, Stream stream) {
  if (to.bytes() != from.bytes()) {
    fail(fmt::format("{} bytes cannot be copied into {}", from.bytes(), to.bytes()));
  }
  if (to.bytes() == 0) return;
  if (to.device == Device::cpu && from.device == Device::cpu) {
    std::memmove(to.data, from.data, static_cast<std::size_t>(to.bytes()));
    return;
  }
  device_api::copy(to.data, from.data, to.bytes(), stream.handle);
  if (to.device != from.device) synchronize(stream);
}

void copy(const View& to, const View& from) {
  copy(to, from, current_stream(to.device == Device::cuda ? to.device : from.device));
}

void fill_bytes(const View& view, unsigned char byte) {
  if (view.bytes() == 0) return;
  if (view.device == Device::cpu) {
    std::memset(view.data, byte, static_cast<std::size_t>(view.bytes()));
  } else {
    device_api::fill(view.data, byte, view.bytes(), current_stream(view.device).handle);
  }
}

MemoryInfo device_memory_info(Device device) {
  MemoryInfo info;
  if (device == Device::cuda) device_api::memory(info.free, info.total);
  const std::int64_t limit = memory_limit(device);
  if (limit > 0 && (device == Device::cpu || limit < info.total)) {
    const std::int64_t left = std::max<std::int64_t>(limit - memory_use(device).current, 0);
    info.free = device == Device::cpu ? left : std::min(left, info.free);
    info.total = limit;
  }
  return info;
}

std::string sentence_of(const MemoryRequest& r) {
  const std::string tensor = r.shape.rank() == 1 && r.dtype == Dtype::u8
                                 ? std::string("a buffer")
                                 : fmt::format("a tensor of {} {}", to_string(r.shape), name_of(r.dtype));
  const std::string most = r.most > 0 ? fmt::format(" of {}", bytes_text(r.most)) : "";
  return fmt::format("{}{}out of memory on {}: {} needs {}, and {}{} are in use", r.what,
                     r.what.empty() ? "" : ": ", name_of(r.device), tensor, bytes_text(r.bytes),
                     bytes_text(r.in_use), most);
}

OutOfMemory::OutOfMemory(const MemoryRequest& request)
    : Error(sentence_of(request) + "; try a smaller batch, image size or model"), request_(request) {}

std::string bytes_text(std::int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= gib) return fmt::format("{:.2f} GiB", value / static_cast<double>(gib));
  if (bytes >= mib) return fmt::format("{:.1f} MiB", value / static_cast<double>(mib));
  if (bytes >= kib) return fmt::format("{:.1f} KiB", value / static_cast<double>(kib));
  return fmt::format("{} bytes", bytes);
}

std::int64_t parse_bytes(const std::string& text) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> units{
      {{"", 1}, {"bytes", 1}, {"KiB", kib}, {"MiB", mib}, {"GiB", gib}}};
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const auto& [name, size] : units) {
    const double bytes = value * static_cast<double>(size);
    if (error == std::errc{} && unit == name && bytes >= 0 && bytes < 9e18) {
      return static_cast<std::int64_t>(bytes);
    }
  }
  fail_usage(fmt::format("'{}' is not a number of bytes, as in 2GiB, 512MiB, 64KiB or 1000000", text));
}

}  // namespace fovea
